"""Planners that count losses in parts, for tests."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np

from rrm_core import Planner


def through_a_file(partial):
    """Return a partial result after a round trip through an npz file."""
    file = io.BytesIO()
    np.savez(file, **partial)
    return np.load(io.BytesIO(file.getvalue()))


def combined(partials):
    """Return several partial results combined as `Planner.partial` documents."""
    return {
        "state": partials[0]["state"],
        "sums": sum(partial["sums"] for partial in partials),
        "minima": np.minimum.reduce([partial["minima"] for partial in partials]),
        "keys": np.concatenate([partial["keys"] for partial in partials]),
    }


def split(c, rng, parts):
    """Return parts of the losses, each with its offset; some are empty."""
    cuts = [0, *np.sort(rng.integers(0, len(c) + 1, parts - 1)).tolist(), len(c)]
    return [(begin, c[begin:end]) for begin, end in pairwise(cuts)]


def merged(planners, rng):
    """Merge planners in random order, 30 % of them through a partial result; return the merged one."""
    while len(planners) > 1:
        rng.shuffle(planners)
        other = planners.pop()
        planners[0].merge(Planner.from_partial(other.partial()) if rng.random() < 0.3 else other)
    return planners[0]


def count_in_parts(c, rng, *, backend=None, threads=None, **rule):
    """Return a done planner; in each round several planners count parts of the losses."""
    planner = Planner(backend=backend, threads=threads, **rule)
    while not planner.done:
        start = through_a_file(planner.partial()) if rng.random() < 0.3 else planner.partial()
        planners = [Planner.from_partial(start, backend=backend, threads=threads) for _ in range(rng.integers(3))]
        planners.append(planner)
        parts = split(c, rng, rng.integers(1, 7))
        for i in rng.permutation(len(parts)):
            begin, part = parts[i]
            planners[rng.integers(len(planners))].update(part, offset=begin)
        planner = merged(planners, rng)
        planner.advance()
    return planner


def plan_of(parts, **rule):
    """Return the plan of some parts, counted by one planner, and the number of rounds."""
    planner = Planner(**rule)
    while not planner.done:
        for part in parts:
            planner.update(part)
        planner.advance()
    return planner.plan, planner.round


def planner_in_round_two(c, **rule):
    planner = Planner(**rule)
    planner.update(c)
    planner.advance()
    assert (planner.round, planner.done) == (2, False)
    return planner
