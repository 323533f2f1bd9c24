"""Interrupted calls of a planner with groups: losses are counted as a whole or not at all; the round ends or not."""

from __future__ import annotations

import numpy as np
import pytest

import rrm_core
from rrm_core import Planner
from support.interrupts import interrupted

LOSSES = np.random.default_rng(2).exponential(size=60).astype(np.float32)
GROUPS = np.arange(60) % 3
# Rounds that narrow ranges, and one that counts at pivots.
RULE = {"contamination": 0.3, "cap": [0.2, 0.5, 0.4], "redistribute": 0.2, "mass": "group"}
MEMORY = 1 << 12
SAMPLES = 25


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def partials(backend):
    """Yield what is counted at the start of each round, and after the first half of the losses in it."""
    planner = Planner(**RULE, group_memory=MEMORY, backend=backend)
    while not planner.done:
        state = {"state": planner.partial()["state"]}
        planner.update(LOSSES[:30], groups=GROUPS[:30])
        yield state, planner.partial()
        planner.update(LOSSES[30:], groups=GROUPS[30:])
        planner.advance()


def count_rest(planner):
    planner.update(LOSSES[30:], groups=GROUPS[30:])


@pytest.mark.parametrize("call", ["update", "merge"])
@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_interrupted_call_counts_all_losses_or_none(backend, call):
    for state, old in partials(backend):
        other = Planner.from_partial(state, backend=backend)
        count_rest(other)

        def add(planner, other=other):
            if call == "update":
                count_rest(planner)
            else:
                planner.merge(other)

        full = Planner.from_partial(old, backend=backend)
        add(full)
        new = full.partial()
        n_counted = set()
        for instruction, planner in interrupted(
            lambda old=old: Planner.from_partial(old, backend=backend), add, samples=SAMPLES
        ):
            assert same(planner.partial(), new if planner.n == 60 else old), instruction
            n_counted.add(planner.n)
        assert n_counted == {30, 60}


def test_interrupted_advance_ends_the_round_or_does_not():
    expected = rrm_core.plan(LOSSES, groups=GROUPS, **RULE)
    for state, _ in partials(None):
        full = Planner.from_partial(state)
        full.update(LOSSES, groups=GROUPS)
        old = full.partial()
        full.advance()
        new = full.partial()
        for instruction, planner in interrupted(
            lambda old=old: Planner.from_partial(old), Planner.advance, samples=SAMPLES, seed=full.round
        ):
            assert same(planner.partial(), new if planner.n == 0 else old), instruction
        assert full.plan == expected if full.done else full.round > 1
