"""Time `rrm_core.reweight` and its kernel against the memory floor and against other ways to do the same job.

    python -m benchmarks.cpu.bench_reweight                     # all of it, into benchmarks/results/reweight.json
    python -m benchmarks.cpu.bench_reweight --quick             # a minute, into build/reweight.json
    python -m benchmarks.cpu.bench_reweight --headers FOLDER    # with x86-simd-sort and Highway, see below
    python -m benchmarks.cpu.bench_reweight --before CHECKOUT   # with the kernel of an earlier commit

The rivals are timed in interleaved rounds, in one process, after a check that their weights agree to the bit. All
rivals run on exponential float32 losses with mu = 0.3; other distributions, types, threads, values of mu and
instruction sets are timed for the kernel against the floor. FOLDER is NumPy's unpacked source distribution, which has
the headers of the two vectorised selections; RRM_BENCH_HEADERS is its default. `--sizes 1e9` needs 12 GB of memory.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.common.losses import DISTRIBUTIONS, FORMATS, Answer, Array, Losses
from benchmarks.common.other_checkout import commit_of
from benchmarks.common.record import RESULTS, ROOT, provenance, write_record
from benchmarks.common.timing import interleaved, line
from benchmarks.cpu import rival_process
from benchmarks.cpu.native import Composition, Floor, Kernel, Native, compiler_version
from benchmarks.cpu.rivals import PYTHON_RIVALS, Public, Rival, one_thread
from rrm_core._cli import run

PACKAGES = ("rrm-core", "numpy", "torch", "numba", "polars")
SIZES = (10_000, 50_000, 1_000_000, 10_000_000, 100_000_000)
HUGE = 300_000_000  # from this size on only rivals that need no memory besides losses and weights
FLOOR = "floor"
FLOOR_TWICE = "floor, losses read twice"
KERNEL = "kernel"
PUBLIC = "rrm_core.reweight"
BEFORE = "kernel, before"
AVX2 = ", AVX2 path"

Make = Callable[[Losses, Array, Array, float], Rival]


@dataclass(frozen=True)
class Cell:
    """Conditions of one set of rounds."""

    what: Losses
    mu: float = 0.3
    threads: int = 1
    all_rivals: bool = False


def contenders(
    native: Native, child: rival_process.Child | None, cell: Cell, earlier: Native | None = None
) -> dict[str, Make]:
    """Return the constructors of the rivals in a cell."""
    makes: dict[str, Make] = {FLOOR: partial(Floor, native, twice=False, threads=cell.threads)}
    makes[KERNEL] = partial(Kernel, native, threads=cell.threads)
    if cell.threads > 1:
        makes["kernel, 1 thread"] = partial(Kernel, native)
        return makes
    if earlier is not None:
        makes[BEFORE] = partial(Kernel, earlier)
    if cell == Cell(cell.what) and cell.what.distribution == "exponential":
        for level in native.instruction_sets:
            makes[f"kernel, {level}"] = partial(Kernel, native, instruction_set=level)
    if not cell.all_rivals:
        return makes
    makes[FLOOR_TWICE] = partial(Floor, native, twice=True)
    makes[PUBLIC] = Public
    if cell.what.n >= HUGE:
        return makes
    scratch = np.empty(cell.what.n, np.float32)
    for name in native.selections:
        makes[name] = partial(Composition, native, selection=name, scratch=scratch)
    for name, kind in PYTHON_RIVALS.items():
        makes[name] = kind
        if child is not None and name.startswith("NumPy"):
            makes[name + AVX2] = partial(rival_process.RivalInChild, child=child, name=name)
    return makes


def conditions(n: int, distributions: list[str], threads: list[int]) -> Iterator[Cell]:
    """Yield the cells of kernel against floor; cells with the same losses are consecutive."""
    for distribution in distributions if n < HUGE else distributions[:1]:
        for format in FORMATS if distribution == "exponential" and n < HUGE else ("float32",):
            for mu in (0.3, 1.0):
                for count in threads if (distribution, format) == ("exponential", "float32") else threads[:1]:
                    yield Cell(Losses(n, distribution, format), mu, count)


class Run:
    """Times cells one after another; the record is written after each."""

    def __init__(
        self,
        native: Native,
        earlier: Native | None,
        child: rival_process.Child | None,
        quick: bool,
        path: Path,
        record: Any,
    ) -> None:
        self.native = native
        self.earlier = earlier
        self.child = child
        self.quick = quick
        self.path = path
        self.record = record
        self.console = Console()
        self.drawn: tuple[Losses, Array, Answer] | None = None

    def time(self, cell: Cell, position: str) -> None:
        what = cell.what
        label = f"[{position}] {what.n:_} {what.format} {what.distribution}, mu {cell.mu}, {cell.threads} thread(s)"
        with self.console.status(label) as status:
            losses, answer = self._draw(what)
            weights = np.ones(what.n, what.weights_type)
            rivals: dict[str, Rival] = {}
            rows: dict[str, Any] = {}
            for name, make in contenders(self.native, self.child, cell, self.earlier).items():
                status.update(f"{label}: {name} check")
                try:
                    rival = make(what, losses, weights, cell.mu)
                    rival.check(answer)
                except Exception as error:  # not installed, unable to do this size, or wrong
                    if name in (FLOOR, KERNEL, PUBLIC):
                        raise
                    rows[name] = {"out": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
                else:
                    rivals[name] = rival
            share = 0.1 if self.quick else self._share(cell)
            min_samples = 2 if self.quick else 5
            rows |= interleaved(rivals, share, min_samples, lambda text: status.update(f"{label}: {text}"))
        if self.child is not None and cell.all_rivals:
            self.child.request(clear=True)
        self.console.print(label, markup=False, highlight=False, soft_wrap=True)
        for name, row in rows.items():
            text = row.get("out") or f"{line(row)}, {row['median'] / rows[FLOOR]['median']:.2f} floors"
            self.console.print(f"    {name:32}{text}", highlight=False, markup=False, soft_wrap=True)
        place = {**asdict(what), "mu": cell.mu, "threads": cell.threads, "all_rivals": cell.all_rivals}
        self.record["cells"].append({**place, "ms": rows})
        write_record(self.path, self.record)

    @staticmethod
    def _share(cell: Cell) -> float:
        """Return the time for each rival in seconds."""
        if cell.what.n <= 1_000_000:
            return 0.6
        return 6.0 if cell.all_rivals else 1.5

    def _draw(self, what: Losses) -> tuple[Array, Answer]:
        if self.drawn is None or self.drawn[0] != what:
            self.drawn = None
            losses = what.draw()
            self.drawn = what, losses, Answer.compute(losses, what.rank)
        return self.drawn[1:]


def main() -> None:
    """Run, record, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: int(float(text)), nargs="+", metavar="N")
    parser.add_argument("--distributions", nargs="+", choices=list(DISTRIBUTIONS), default=list(DISTRIBUTIONS))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="few samples of sizes up to 1e6, not for the record")
    parser.add_argument("--headers", type=Path, default=os.environ.get("RRM_BENCH_HEADERS"), metavar="FOLDER")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="whose kernel is timed as well")
    parser.add_argument("--output", type=Path, help="a file; only the default of a full run is for the record")
    arguments = parser.parse_args()
    recorded = RESULTS / "reweight.json"
    path = arguments.output or (ROOT / "build" / "reweight.json" if arguments.quick else recorded)
    path.parent.mkdir(parents=True, exist_ok=True)
    installed = [name for name in PACKAGES if find_spec(name.replace("-", "_"))]
    origin = provenance(*installed, draft=path.resolve() != recorded)
    sizes = arguments.sizes or (SIZES[:3] if arguments.quick else SIZES)
    one_thread()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        native = Native(folder, arguments.headers)
        earlier = None
        if arguments.before is not None:
            other_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            earlier = Native(other_folder, sources=arguments.before / "csrc" / "cpu")
        features = rival_process.wide_features()
        child = rival_process.Child(features) if features else None
        if child is not None:
            stack.callback(child.close)
        record = {
            "what": "contamination=0.2; median and quartiles of interleaved samples, in ms; `calls` calls in each",
            "times": "CPU time",  # of one thread; with several, elapsed time
            **origin,
            "compiler": compiler_version(),
            "instruction sets": native.instruction_sets,
            "numpy without": features,
            "commit before": None if arguments.before is None else commit_of(arguments.before),
            "cells": [],
        }
        cells = [Cell(Losses(n), all_rivals=True) for n in sizes]
        cells += [cell for n in sizes for cell in conditions(n, arguments.distributions, arguments.threads)]
        run = Run(native, earlier, child, arguments.quick, path, record)
        for i, cell in enumerate(cells):
            run.time(cell, f"{i + 1}/{len(cells)}")
    print(f"wrote {path}")


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.cpu.bench_reweight", main))
