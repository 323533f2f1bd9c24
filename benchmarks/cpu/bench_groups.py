"""Time `rrm_core.reweight` with groups beside one threshold for all samples, and record it.

    python -m benchmarks.cpu.bench_groups

Prepared groups of equal expected size, in random order; a contamination for each. The rival is one call for each group
on its samples, with the indices of each group at hand. All are timed in interleaved rounds: with cold caches, as after
an epoch, and right after an untimed call.
"""

from __future__ import annotations

import functools
import itertools
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
CACHE_BYTES = 128 << 20  # more than the caches hold


class Calls:
    """A call to be timed, and another that precedes it each time."""

    def __init__(self, call: Callable[[], Any], before: Callable[[], Any]) -> None:
        self.call = call
        self.before = before

    def seconds(self, calls: int) -> float:
        """Return the time of one call, the mean of this many."""
        seconds = 0.0
        for _ in range(calls):
            self.before()
            start = time.perf_counter()
            self.call()
            seconds += time.perf_counter() - start
        return seconds / calls


def main() -> None:
    """Run, record, print."""
    origin = provenance("rrm-core", "numpy")
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=N).astype(np.float32)
    weights = np.ones_like(losses)
    groups = {n_groups: make_groups(rng, n_groups) for n_groups in N_GROUPS}
    check(losses, rng)
    evictor = np.zeros(CACHE_BYTES // 8)
    cells = []
    for caches, mu in itertools.product(("cold", "warm"), (1.0, 0.3)):
        calls = make_calls(losses, weights, groups, mu)
        rivals = {
            name: Calls(call, call if caches == "warm" else lambda: np.add(evictor, 1, out=evictor))
            for name, call in calls.items()
        }
        times = interleaved(rivals, 2.0, 15, lambda step: print(step, end="\r"))
        cells.append({"caches": caches, "mu": mu, "ms": times})
        for name, row in times.items():
            ratio = row["median"] / times["one threshold"]["median"]
            print(f"{caches}, mu {mu}: {name:32} {line(row)}, {ratio:6.2f} times")
    what = (
        f"{N} exponential float32 losses, contamination {SHARE} of each group, redistribute 'kept', in place, 1 thread"
    )
    write_record(RESULTS / "groups.json", {"what": what, "unit": "ms", **origin, "cells": cells})


def make_groups(rng: np.random.Generator, n_groups: int) -> rrm_core.Groups:
    """Return random groups, prepared."""
    return rrm_core.Groups(rng.integers(0, n_groups, N).astype(np.int32), n_groups)


def make_calls(
    losses: Any, weights: Any, groups: dict[int, rrm_core.Groups], mu: float
) -> dict[str, Callable[[], Any]]:
    """Return the calls to be compared."""
    options: dict[str, Any] = {"mu": mu, "redistribute": "kept", "threads": 1, "out": weights}
    calls = {"one threshold": functools.partial(rrm_core.reweight, losses, weights, contamination=SHARE, **options)}
    for n_groups, prepared in groups.items():
        shares = np.full(n_groups, SHARE)
        for mass in ("all", "group"):
            calls[f"{n_groups:_} groups, mass {mass}"] = functools.partial(
                rrm_core.reweight, losses, weights, groups=prepared, contamination=shares, mass=mass, **options
            )
        if n_groups in COMPOSED:
            order = np.argsort(prepared.numbers, kind="stable")
            members = np.split(order, np.cumsum(prepared.sizes)[:-1])
            calls[f"{n_groups:_} groups, a call for each"] = functools.partial(composed, losses, weights, members, mu)
    return calls


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
