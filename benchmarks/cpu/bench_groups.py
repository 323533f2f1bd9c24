"""Time `rrm_core.reweight` with groups beside one threshold for all samples, and record it.

    python -m benchmarks.cpu.bench_groups

Prepared groups of equal expected size, in random order; a contamination for each. The rival is one call for each group
on its samples, with the indices of each group at hand. All are timed in interleaved rounds, with warm caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import rrm_core
from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.common.timing import interleaved, line
from rrm_core._cli import run

N = 1_000_000
N_GROUPS = (1, 10, 100, 1_000, 100_000)
COMPOSED = (10, 1_000)
SHARE = 0.2


class Calls:
    """A call to be timed."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    def seconds(self, calls: int) -> float:
        """Return the time of one call, the mean of this many, after one that brings its arrays into the caches."""
        self.call()
        start = time.perf_counter()
        for _ in range(calls):
            self.call()
        return (time.perf_counter() - start) / calls


def main() -> None:
    """Run, record, print."""
    origin = provenance("rrm-core", "numpy")
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=N).astype(np.float32)
    weights = np.ones_like(losses)
    cells = []
    for mu in (1.0, 0.3):
        options: dict[str, Any] = {"mu": mu, "redistribute": "kept", "threads": 1, "out": weights}
        rivals = {"one threshold": Calls(lambda options=options: one_threshold(losses, weights, options))}
        for n_groups in N_GROUPS:
            numbers = rng.integers(0, n_groups, N).astype(np.int32)
            groups = rrm_core.Groups(numbers, n_groups)
            shares = np.full(n_groups, SHARE)
            for mass in ("all", "group"):
                rivals[f"{n_groups:_} groups, mass {mass}"] = Calls(
                    lambda groups=groups, shares=shares, mass=mass, options=options: rrm_core.reweight(
                        losses, weights, groups=groups, contamination=shares, mass=mass, **options
                    )
                )
            if n_groups in COMPOSED:
                order = np.argsort(numbers, kind="stable")
                members = np.split(order, np.cumsum(groups.sizes)[:-1])
                rivals[f"{n_groups:_} groups, a call for each"] = Calls(
                    lambda members=members, mu=mu: composed(losses, weights, members, mu)
                )
        check(losses, rng)
        times = interleaved(rivals, 2.0, 15, lambda step: print(step, end="\r"))
        cells.append({"mu": mu, "ms": times})
        for name, row in times.items():
            print(f"mu {mu}: {name:32} {line(row)}, {row['median'] / times['one threshold']['median']:6.2f} times")
    what = (
        f"{N} exponential float32 losses, contamination {SHARE} of each group, redistribute 'kept', in place, 1 thread"
    )
    write_record(RESULTS / "groups.json", {"what": what, "unit": "ms", **origin, "cells": cells})


def one_threshold(losses: Any, weights: Any, options: dict[str, Any]) -> None:
    """Reweight with one threshold for all samples."""
    rrm_core.reweight(losses, weights, contamination=SHARE, **options)


def composed(losses: Any, weights: Any, members: list[Any], mu: float) -> None:
    """Reweight the samples of each group, whose indices are `members`, by a call of its own."""
    for index in members:
        new, _ = rrm_core.reweight(
            losses[index], weights[index], contamination=SHARE, mu=mu, redistribute="kept", threads=1
        )
        weights[index] = new


def check(losses: Any, rng: np.random.Generator) -> None:
    """Raise an AssertionError unless both ways give the same weights where each group keeps its mass."""
    numbers = rng.integers(0, 10, N)
    expected = np.ones_like(losses)
    composed(losses, expected, [np.flatnonzero(numbers == group) for group in range(10)], 1.0)
    weights, _ = rrm_core.reweight(
        losses, groups=numbers, contamination=np.full(10, SHARE), redistribute="kept", mass="group"
    )
    assert weights.tobytes() == expected.tobytes()


if __name__ == "__main__":
    raise SystemExit(run("python -m benchmarks.cpu.bench_groups", main))
