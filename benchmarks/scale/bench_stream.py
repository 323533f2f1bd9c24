"""Measure time and memory of `rrm_core.stream` on generated files, and record them.

    python -m benchmarks.scale.bench_stream FOLDER

FOLDER needs room for 9 GB, which are deleted at the end. Each call is interleaved with the minimal input and output: to
read the file as often, with buffers of the same size, and to write as many bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

import rrm_core
from benchmarks.common.record import RESULTS, provenance, write_record
from rrm_core._atomic_write import atomic_write
from rrm_core._cli import run
from rrm_core.stream import parquet_source, pipeline

RULE = {"contamination": 0.2}
READS = 2  # passes over float32 losses to plan; one more to reweight
BLOCK = 1 << 24  # samples generated and checked at a time
COLUMN = "loss"

PEAK = """
import json, sys
import rrm_core
from rrm_core._atomic_write import atomic_write
def status(name):
    return next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
if sys.argv[1].endswith(".parquet"):
    from rrm_core.stream import arrow_sink, arrow_source, parquet_source
open("/proc/self/clear_refs", "w").write("5")  # resets the peak
before = status("VmRSS")
rrm_core.stream.reweight(sys.argv[1], sys.argv[2], contamination=0.2)
print(json.dumps({"peak": status("VmHWM"), "above_start": status("VmHWM") - before}))
"""


def main() -> None:
    """Make files, time, check, record, print."""
    options = _options()
    origin = provenance("rrm-core", "numpy", "pyarrow", draft=options.draft)
    folder = options.folder / "rrm_stream"
    folder.mkdir(parents=True)
    try:
        files = {"npy": _npy(folder, options.samples), "parquet": _parquet(folder, options.rows)}
        kinds = {kind: _measure(kind, path, options.rounds) for kind, path in files.items()}
    finally:
        shutil.rmtree(folder)
    record = {
        "what": "float32 losses, exponential, contamination 0.2, weights to .npy; times of reading and writing beside",
        "rounds": options.rounds,
        "memory": _default_memory(),
        "threads": rrm_core.cpu_info().threads,
        **origin,
        **kinds,
    }
    if options.draft:
        print(json.dumps(record, indent=1))
    else:
        path = RESULTS / "stream.json"
        write_record(path, record)


def _default_memory() -> int:
    """Return the default memory limit of a call in bytes."""
    return int(rrm_core.stream.reweight.__kwdefaults__["memory"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where there is room for the files")
    parser.add_argument("--samples", type=lambda text: int(float(text)), default=10**9, help="of the .npy file")
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=10**8, help="of the Parquet file")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each time")
    parser.add_argument("--draft", action="store_true", help="print only, with changes that aren't committed")
    return parser.parse_args()


# Timing


class FileTimings:
    """The operations on one file that are timed."""

    def __init__(self, kind: str, path: Path) -> None:
        self.path = path
        self.out = path.with_name("weights.npy")
        self.read = self._read_npy if kind == "npy" else self._read_parquet
        self.memory = np.ones(pipeline.TILE_BYTES, np.uint8)

    def _read_npy(self) -> Iterator[Any]:
        with self.path.open("rb", buffering=0) as file:
            while size := file.readinto(self.memory):
                yield self.memory[:size]

    def _read_parquet(self) -> Iterator[Any]:
        with pa.OSFile(str(self.path)) as opened:
            file = parquet.ParquetFile(opened, buffer_size=parquet_source.READ_BYTES, pre_buffer=False)
            for batch in file.iter_batches(
                batch_size=parquet_source.BATCH_BYTES // 4, columns=[COLUMN], use_threads=False
            ):
                yield batch.column(0).buffers()[1]

    def read_often(self, times: int, *, cold: bool = False) -> None:
        for _ in range(times):
            if cold:
                self.drop_cache()
            for _ in self.read():
                pass

    def plan(self, *, cold: bool = False) -> None:
        def progress(done: int, _: int | None, __: str) -> None:
            if not done:
                self.drop_cache()

        rrm_core.stream.plan(self.path, progress=progress if cold else None, **RULE)

    def read_and_write(self) -> None:
        """Read as often as a reweight does, and write each piece in the last pass, in which sizes agree."""
        self.read_often(READS)
        with atomic_write(self.out) as file:
            for piece in self.read():
                file.write(piece)

    def reweight(self) -> None:
        rrm_core.stream.reweight(self.path, self.out, **RULE)

    def warm_up(self, *, reading: bool, writing: bool) -> None:
        """Bring the file and memory for the output into the page cache, and write dirty pages back.

        Otherwise the first operation would pay for memory that a virtual machine has to request from its host.
        """
        if writing:
            self.read_and_write()
            self.out.unlink()
        elif reading:
            self.read_often(1)
        os.sync()

    def drop_cache(self) -> None:
        """Remove the file from the page cache."""
        with self.path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _measure(kind: str, path: Path, rounds: int) -> dict[str, Any]:
    timings = FileTimings(kind, path)
    n = _check(timings)
    contenders: dict[str, Callable[[], None]] = {
        f"reading {READS} times": lambda: timings.read_often(READS),
        "plan": timings.plan,
        f"reading {READS} times, cold": lambda: timings.read_often(READS, cold=True),
        "plan, cold": lambda: timings.plan(cold=True),
        f"reading {READS + 1} times and writing": timings.read_and_write,
        "reweight": timings.reweight,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name, contend in contenders.items():
            _say(f"{kind}: round {turn + 1} of {rounds}, {name}")
            timings.warm_up(reading="cold" not in name, writing=name.endswith(("writing", "reweight")))
            start = time.perf_counter()
            contend()
            seconds[name].append(time.perf_counter() - start)
            timings.out.unlink(missing_ok=True)
    peak = json.loads(
        subprocess.run(
            [sys.executable, "-c", PEAK, str(path), str(timings.out)], capture_output=True, text=True, check=True
        ).stdout
    )
    timings.out.unlink()
    rows = {name: _summary(times) for name, times in seconds.items()}
    names = list(rows)
    ratios = {
        name: round(statistics.median(a / b for a, b in zip(seconds[name], seconds[baseline], strict=True)), 3)
        for baseline, name in zip(names[::2], names[1::2], strict=True)
    }
    _say("")
    for name, row in rows.items():
        ratio = f", {ratios[name]:.2f} times that" if name in ratios else ""
        print(f"{kind:8}{name:32}{row['median']:9.3f} s ({row['quartile1']:.3f}–{row['quartile3']:.3f}){ratio}")
    print(f"{kind:8}peak {peak['peak'] / 1e6:.0f} MB, {peak['above_start'] / 1e6:.0f} MB above the start")
    return {"n": n, "bytes": path.stat().st_size, "seconds": rows, "ratios": ratios, "bytes_of_memory": peak}


def _summary(times: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": round(median, 4), "quartile1": round(low, 4), "quartile3": round(high, 4)}


def _check(timings: FileTimings) -> int:
    """Return the number of losses; exit if the weights differ from those of `rrm_core.apply`, block by block."""
    _say(f"{timings.path.name}: check")
    plan = rrm_core.stream.reweight(timings.path, timings.out, **RULE)
    weights = np.load(timings.out, mmap_mode="r")
    first = 0
    for losses in _blocks(timings.path):
        block = weights[first : first + len(losses)]
        if not np.array_equal(rrm_core.apply(plan, losses), block):
            raise SystemExit(f"{timings.path.name}: wrong weights after sample {first}")
        first += len(losses)
    if (
        timings.path.suffix == ".npy"
        and rrm_core.plan(np.load(timings.path, mmap_mode="r").view(np.ndarray), **RULE) != plan
    ):
        raise SystemExit("wrong plan")
    timings.out.unlink()
    return plan.n


def _blocks(path: Path) -> Any:
    if path.suffix == ".npy":
        losses = np.load(path, mmap_mode="r")
        yield from (losses[first : first + BLOCK] for first in range(0, len(losses), BLOCK))
    else:
        for batch in parquet.ParquetFile(path).iter_batches(columns=[COLUMN]):
            yield batch.column(0).to_numpy()


# Files


def _npy(folder: Path, n: int) -> Path:
    path = folder / "losses.npy"
    rng = np.random.default_rng(0)
    losses = np.lib.format.open_memmap(path, "w+", np.float32, (n,))
    for first in range(0, n, BLOCK):
        _say(f"{path.name}: {first:,} of {n:,}")
        block = losses[first : first + BLOCK]
        block[:] = rng.standard_exponential(len(block), dtype=np.float32)
    losses.flush()
    return path


def _parquet(folder: Path, n: int) -> Path:
    """Write a file of two columns with pyarrow's defaults."""
    path = folder / "losses.parquet"
    rng = np.random.default_rng(1)
    schema = pa.schema([("sample", pa.int64()), (COLUMN, pa.float32())])
    with parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, n, BLOCK):
            _say(f"{path.name}: {first:,} of {n:,}")
            rows = np.arange(first, min(first + BLOCK, n))
            losses = rng.standard_exponential(len(rows), dtype=np.float32)
            writer.write_table(pa.table([rows, losses], schema=schema))
    return path


def _say(what: str) -> None:
    print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.scale.bench_stream", main))
