"""Time `rrm_core.reweight` on a GPU against what torch and CuPy can do there, and against the way by the host.

    python -m benchmarks.gpu.bench_gpu                          # all of it, into benchmarks/results/gpu.json
    python -m benchmarks.gpu.bench_gpu --quick                  # small sizes, into build/gpu.json
    python -m benchmarks.gpu.bench_gpu --sizes 1e6 1e8 --record build/mine.json
    python -m benchmarks.gpu.bench_gpu --stand-in               # the same code on a model, into build/gpu-stand-in.json

Needs torch with CUDA, and the package built where nvcc was; CuPy takes part where it is installed. All take turns,
round by round, in one process, on several sets of arrays that together are larger than the L2 cache where 32 sets can
be. Every one proves its answer first, weights to the bit, against the reference backend (from 1e9 on, the CPU's
kernel). Timed are:

  the device        between two events, with everything enqueued beforehand: what the host takes isn't in it
  the call          until it returns; until its answer has come back to the host; captured in a CUDA graph and replayed
  the floor         a copy on the device that moves as many bytes as the job has to: 16 a sample for float32
  rivals            torch.kthvalue, topk, sort, quantile, cupy.partition with all that belongs to the job; array_api
  the host          the CPU's kernel on losses in host memory, and the way there and back, pageable and pinned memory

then other types, rules and losses at one size. A size that doesn't fit into memory is left out, and the record says so.
Exit code 2 if there is nothing to run on. What `--stand-in` records says that it isn't a GPU's: render.py refuses it.
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
    ByTheWall,
    ByWayOfHost,
    Contender,
    Copy,
    Graph,
    GraphAnswered,
    Job,
    OnDevice,
    OnHost,
    Ours,
    OursAnswered,
    UntilReturn,
    bytes_needed,
    n_sets,
)
from benchmarks.gpu.devices import Device, NoDeviceError, StandInDevice, TorchDevice, host_room
from benchmarks.gpu.rivals import RIVALS
from benchmarks.pages import gpu_tables

SIZES = [10**k for k in range(3, 10)]  # from where the host is faster
CONDITIONS = 100_000_000
QUICK = [10_000, 1_000_000]
TINY = [1000, 6000]
RECORD = (RESULTS / "gpu.json").resolve()
MUST = (gpu_tables.FLOOR, gpu_tables.OURS, gpu_tables.RETURNED, gpu_tables.ANSWERED)

Make = Callable[[Job], Contender]


def contenders(cell: Cell, device: Device) -> Iterator[tuple[str, Make, type[OnDevice]]]:
    """Yield who takes part in a cell, and what is timed of it."""
    yield gpu_tables.FLOOR, Copy, OnDevice
    yield gpu_tables.OURS, Ours, OnDevice
    yield gpu_tables.RETURNED, Ours, UntilReturn
    yield gpu_tables.ANSWERED, OursAnswered, ByTheWall
    if cell.host:
        yield gpu_tables.GRAPH, Graph, OnDevice
        yield gpu_tables.REPLAYED, GraphAnswered, ByTheWall
        yield gpu_tables.ON_HOST, OnHost, ByTheWall
        yield gpu_tables.PAGEABLE, partial(ByWayOfHost, pinned=False), ByTheWall
        yield gpu_tables.PINNED, partial(ByWayOfHost, pinned=True), ByTheWall
    if cell.rivals:
        yield gpu_tables.ARRAY_API, partial(Ours, backend="array_api"), OnDevice
        if device.is_gpu:
            for name, kind in RIVALS.items():
                yield name, kind, OnDevice


class Run:
    """Cells one after another, each written as soon as it is there."""

    def __init__(self, device: Device, share: float, fewest: int, path: Path, record: dict[str, Any]) -> None:
        self.device = device
        self.share = share
        self.fewest = fewest
        self.path = path
        self.record = record
        self.console = Console()

    def time(self, cell: Cell, position: str) -> None:
        what = cell.what
        label = f"[{position}] {what.n:_} {what.format} {what.distribution}, {cell.rule}, mu {cell.mu:g}"
        place = {**asdict(what), "mu": cell.mu, "rule": cell.rule, "host": cell.host, "floor": cell.floor}
        with self.console.status(label) as status:
            short = self._short_of_memory(cell)
            result = {"skipped": short} if short else self._timed(cell, lambda text: status.update(f"{label}: {text}"))
        self.console.print(label, markup=False, highlight=False, soft_wrap=True)
        for name, row in result.get("ms", {"skipped": {"out": short}}).items():
            text = row.get("out") or f"{1e3 * row['median']:12.1f} µs, {row['samples']} samples"
            self.console.print(f"    {name:32}{text}", highlight=False, markup=False, soft_wrap=True)
        self.record["cells"].append({**place, **result})
        write_record(self.path, self.record)

    def _short_of_memory(self, cell: Cell) -> str | None:
        needed = bytes_needed(cell, self.device)
        for where, wanted, free in zip(("device", "host"), needed, (self.device.room(), host_room()), strict=True):
            if wanted > free:
                return f"takes {wanted / 1e9:.1f} GB on the {where}, {free / 1e9:.1f} GB are free"
        return None

    def _timed(self, cell: Cell, progress: Callable[[str], None]) -> dict[str, Any]:
        progress("draws losses, and what is right")
        job = Job(cell, self.device, cell.draw())
        timed: dict[str, OnDevice] = {}
        rows: dict[str, Any] = {}
        for name, make, kind in contenders(cell, self.device):
            progress(f"{name} proves its answer")
            try:
                contender = make(job)
                contender.prove()
            except Exception as error:  # it refuses this size or type, finds no memory, or its answer is wrong
                if name in MUST:
                    raise
                rows[name] = {"out": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            else:
                timed[name] = kind(contender)
            self.device.tidy()
        job.forget_answer()
        rows |= interleaved(timed, self.share, self.fewest, progress)
        one = n_sets(cell, self.device) * cell.what.n * (cell.bytes_of_loss + cell.bytes_of_weight)
        return {
            "sets": len(job.sets),
            "larger than the cache": one > self.device.cache_bytes,
            "kernels": self.device.kernels(partial(timed[gpu_tables.OURS].contender, 0)),
            "ms": rows,
        }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    size = lambda text: int(float(text))  # noqa: E731
    parser.add_argument("--sizes", type=size, nargs="+", metavar="N", help="losses; 1e3 to 1e9 if not given")
    parser.add_argument("--conditions", type=size, metavar="N", help="losses of other types, rules and kinds; 1e8")
    parser.add_argument("--quick", action="store_true", help="few samples of 1e4 and 1e6, not for the record")
    parser.add_argument(
        "--record", type=Path, metavar="PATH", help="write there; benchmarks/results/gpu.json is a GPU's"
    )
    parser.add_argument("--stand-in", action="store_true", help="run on a model of a GPU, built into build/stand_in")
    given = parser.parse_args(argv)
    full = not given.quick and not given.stand_in
    given.sizes = given.sizes or (TINY if given.stand_in else QUICK if given.quick else SIZES)
    given.conditions = given.conditions or (CONDITIONS if full else max(given.sizes))
    build = ROOT / "build" / ("gpu-stand-in.json" if given.stand_in else "gpu.json")
    given.record = (given.record or (RECORD if full else build)).resolve()
    if given.stand_in and given.record == RECORD:
        parser.error(f"benchmarks/results/{RECORD.name} is for a run on a GPU; --stand-in needs another --record")
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Run, record, print. Return the exit code."""
    given = arguments(argv)
    try:
        device = StandInDevice(ROOT / "build" / "stand_in") if given.stand_in else TorchDevice()
    except NoDeviceError as error:
        hint = "" if given.stand_in else "; --stand-in runs the same code on a model of one, for its logic"
        print(f"bench_gpu.py: no GPU: {error}{hint}", file=sys.stderr)
        return 2
    about = provenance(*device.packages, draft=given.record != RECORD)
    record = {
        "what": "medians and quartiles, in milliseconds, of interleaved samples of so many calls",
        "device": device.name,
        "is_gpu": device.is_gpu,
        "gpu": device.about(),
        **about,
        "cells": [],
    }
    given.record.parent.mkdir(parents=True, exist_ok=True)
    share, fewest = (0.0, 2) if given.stand_in else (0.1, 2) if given.quick else (0.5, 4)
    run = Run(device, share, fewest, given.record, record)
    todo = list(cells(given.sizes, given.conditions))
    for i, cell in enumerate(todo):
        run.time(cell, f"{i + 1}/{len(todo)}")
    print(f"wrote {given.record}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
