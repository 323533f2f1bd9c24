"""Time `rrm_core.reweight` on a GPU against functions of torch and CuPy, and against the way by the host.

    python -m benchmarks.gpu.bench_gpu                          # all of it, into benchmarks/results/gpu.json
    python -m benchmarks.gpu.bench_gpu --quick                  # small sizes, into build/gpu.json
    python -m benchmarks.gpu.bench_gpu --sizes 1e6 1e8 --record build/mine.json
    python -m benchmarks.gpu.bench_gpu --stand-in               # on a model of a GPU, into build/gpu-stand-in.json

It requires torch with CUDA and the package built where nvcc was; CuPy is timed if it is installed. All contenders are
timed in interleaved rounds, in one process, on several sets of arrays that together exceed the L2 cache where 32 sets
suffice. Each is checked first: its weights must agree to the bit with the reference backend's (from 1e9 on, with those
of the CPU's kernel). Timed are

  the device        between two events, with all calls enqueued beforehand, so without the host's launch times
  the call          until it returns; until its plan is on the host; captured in a CUDA graph and replayed
  the floor         a copy on the device of the bytes that must be moved: 16 a sample for float32
  rivals            reweights with torch.kthvalue, topk, sort, quantile, cupy.partition; the array_api backend
  the host          the CPU's kernel on losses in host memory; with copies there and back, pageable and pinned

then other types, rules and losses at one size. A size that does not fit into memory is skipped, and recorded as such.
Exit code 2 if there is no device. A record of `--stand-in` says that it is not a GPU's, and render.py rejects it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.common.record import RESULTS, ROOT, provenance, write_record
from benchmarks.common.timing import interleaved
from benchmarks.gpu.cells import Cell, cells
from benchmarks.gpu.contenders import (
    ByWayOfHost,
    Contender,
    Copy,
    Graph,
    GraphAnswered,
    Job,
    OnDevice,
    OnHost,
    Reweight,
    ReweightAndReadPlan,
    UntilReturn,
    WallClock,
    bytes_needed,
    n_sets,
)
from benchmarks.gpu.devices import Device, NoDeviceError, StandInDevice, TorchDevice, host_free_bytes
from benchmarks.gpu.rivals import RIVALS
from benchmarks.pages import gpu_tables
from rrm_core._cli import run

SIZES = [10**k for k in range(3, 10)]  # from sizes at which the host is faster
CONDITIONS = 100_000_000
QUICK_SIZES = [10_000, 1_000_000]
STAND_IN_SIZES = [1000, 6000]
RECORD = (RESULTS / "gpu.json").resolve()
REQUIRED = (gpu_tables.FLOOR, gpu_tables.OURS, gpu_tables.RETURNED, gpu_tables.ANSWERED)

Make = Callable[[Job], Contender]


def contenders(cell: Cell, device: Device) -> Iterator[tuple[str, Make, type[OnDevice]]]:
    """Yield name, constructor and way of timing of each contender in a cell."""
    yield gpu_tables.FLOOR, Copy, OnDevice
    yield gpu_tables.OURS, Reweight, OnDevice
    yield gpu_tables.RETURNED, Reweight, UntilReturn
    yield gpu_tables.ANSWERED, ReweightAndReadPlan, WallClock
    if cell.host:
        yield gpu_tables.GRAPH, Graph, OnDevice
        yield gpu_tables.REPLAYED, GraphAnswered, WallClock
        yield gpu_tables.ON_HOST, OnHost, WallClock
        yield gpu_tables.PAGEABLE, partial(ByWayOfHost, pinned=False), WallClock
        yield gpu_tables.PINNED, partial(ByWayOfHost, pinned=True), WallClock
    if cell.rivals:
        yield gpu_tables.ARRAY_API, partial(Reweight, backend="array_api"), OnDevice
        if device.is_gpu:
            for name, kind in RIVALS.items():
                yield name, kind, OnDevice


class Run:
    """Times cells one after another; the record is written after each."""

    def __init__(self, device: Device, share: float, min_samples: int, path: Path, record: dict[str, Any]) -> None:
        self.device = device
        self.share = share
        self.min_samples = min_samples
        self.path = path
        self.record = record
        self.console = Console()

    def time(self, cell: Cell, position: str) -> None:
        what = cell.what
        label = f"[{position}] {what.n:_} {what.format} {what.distribution}, {cell.rule}, mu {cell.mu:g}"
        place = {**asdict(what), "mu": cell.mu, "rule": cell.rule, "host": cell.host, "floor": cell.floor}
        with self.console.status(label) as status:
            reason = self._lack_of_memory(cell)
            if reason:
                result: dict[str, Any] = {"skipped": reason}
            else:
                result = self._time_contenders(cell, lambda text: status.update(f"{label}: {text}"))
        self.console.print(label, markup=False, highlight=False, soft_wrap=True)
        for name, row in result.get("ms", {"skipped": {"out": reason}}).items():
            text = row.get("out") or f"{1e3 * row['median']:12.1f} µs, {row['samples']} samples"
            self.console.print(f"    {name:32}{text}", highlight=False, markup=False, soft_wrap=True)
        self.record["cells"].append({**place, **result})
        write_record(self.path, self.record)

    def _lack_of_memory(self, cell: Cell) -> str | None:
        on_device, on_host = bytes_needed(cell, self.device)
        memories = (("device", on_device, self.device.free_bytes()), ("host", on_host, host_free_bytes()))
        for memory, required, available in memories:
            if required > available:
                return f"takes {required / 1e9:.1f} GB on the {memory}, {available / 1e9:.1f} GB are free"
        return None

    def _time_contenders(self, cell: Cell, progress: Callable[[str], None]) -> dict[str, Any]:
        progress("losses and expected result")
        job = Job(cell, self.device, cell.draw())
        timed: dict[str, OnDevice] = {}
        rows: dict[str, Any] = {}
        for name, make, kind in contenders(cell, self.device):
            progress(f"{name}, check")
            try:
                contender = make(job)
                contender.check()
            except Exception as error:  # unable to do this size or type, out of memory, or wrong
                if name in REQUIRED:
                    raise
                rows[name] = {"out": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            else:
                timed[name] = kind(contender)
            self.device.free_caches()
        job.free_expected()
        rows |= interleaved(timed, self.share, self.min_samples, progress)
        bytes_of_sets = n_sets(cell, self.device) * cell.what.n * (cell.bytes_of_loss + cell.bytes_of_weight)
        return {
            "sets": len(job.sets),
            "larger than the cache": bytes_of_sets > self.device.cache_bytes,
            "kernels": self.device.kernels(partial(timed[gpu_tables.OURS].contender, 0)),
            "ms": rows,
        }


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = lambda text: int(float(text))  # noqa: E731
    parser.add_argument("--sizes", type=size, nargs="+", metavar="N", help="numbers of losses (default: 1e3 to 1e9)")
    parser.add_argument(
        "--conditions",
        type=size,
        metavar="N",
        help="number of losses for other types, rules and distributions (default: 1e8)",
    )
    parser.add_argument("--quick", action="store_true", help="few samples of 1e4 and 1e6, not for the record")
    parser.add_argument(
        "--record", type=Path, metavar="PATH", help="output file; benchmarks/results/gpu.json is reserved for a GPU"
    )
    parser.add_argument("--stand-in", action="store_true", help="run on a model of a GPU")
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build" / "stand_in", metavar="FOLDER", help="where the model is built"
    )
    options = parser.parse_args(argv)
    if options.stand_in:
        sizes, record = STAND_IN_SIZES, ROOT / "build" / "gpu-stand-in.json"
    elif options.quick:
        sizes, record = QUICK_SIZES, ROOT / "build" / "gpu.json"
    else:
        sizes, record = SIZES, RECORD
        options.conditions = options.conditions or CONDITIONS
    options.sizes = options.sizes or sizes
    options.conditions = options.conditions or max(options.sizes)
    options.record = (options.record or record).resolve()
    if options.stand_in and options.record == RECORD:
        parser.error(f"benchmarks/results/{RECORD.name} is for a run on a GPU; --stand-in needs another --record")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run, record, print. Return the exit code."""
    options = parse_arguments(argv)
    try:
        device = StandInDevice(options.build) if options.stand_in else TorchDevice()
    except NoDeviceError as error:
        hint = "" if options.stand_in else "; --stand-in tests the benchmark itself on a model of one"
        print(f"bench_gpu.py: no GPU: {error}{hint}", file=sys.stderr)
        return 2
    origin = provenance(*device.packages, draft=options.record != RECORD)
    record = {
        "what": "medians and quartiles, in milliseconds, of interleaved samples; `calls` calls in each",
        "device": device.name,
        "is_gpu": device.is_gpu,
        "gpu": device.about(),
        **origin,
        "cells": [],
    }
    options.record.parent.mkdir(parents=True, exist_ok=True)
    seconds_of_contender, min_samples = _effort(options)
    run = Run(device, seconds_of_contender, min_samples, options.record, record)
    todo = list(cells(options.sizes, options.conditions))
    for i, cell in enumerate(todo):
        run.time(cell, f"{i + 1}/{len(todo)}")
    print(f"wrote {options.record}")
    return 0


def _effort(options: argparse.Namespace) -> tuple[float, int]:
    """Return the seconds for each contender, and its number of samples at least."""
    if options.stand_in:
        return 0.0, 2
    if options.quick:
        return 0.1, 2
    return 0.5, 4


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.gpu.bench_gpu", main))
