"""Interrupted calls of a planner: the losses are counted as a whole or not at all, and the round ends or does not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import rrm_core
from rrm_core import Planner
from support.families import losses
from support.interrupts import interrupted

# A rule, and the number of losses that makes later rounds collect keys or count bins.
CASES = {
    "contamination, keys": ({"contamination": 0.3}, 200),
    "gamma": ({"gamma": 1.0}, 200),
    "fraction, two ranges of keys": ({"contamination": 0.3, "redistribute": 0.2}, 200),
    "gamma and fraction": ({"gamma": 0.5, "redistribute": 0.4}, 200),
}
HISTOGRAMS = {
    "contamination, bins": ({"contamination": 0.3}, 70_000),
    "fraction, two ranges of bins": ({"contamination": 0.3, "redistribute": 0.2}, 140_000),
}


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


def finish(planner, c, rest):
    """Complete the plan of `c`; the planner still has to count `rest` in this round."""
    planner.update(rest)
    planner.advance()
    while not planner.done:
        planner.update(c)
        planner.advance()
    return planner.plan


def start(c, rule, rounds, backend):
    """Return a partial result that has counted the first half of the losses in a round."""
    planner = Planner(backend=backend, **rule)
    for _ in range(1, rounds):
        planner.update(c)
        planner.advance()
    planner.update(c[: len(c) // 2])
    return planner.partial()


def data(case, dtype):
    rule, n = (CASES | HISTOGRAMS)[case]
    if case in CASES:
        return losses("exponential", n, dtype), rule
    # In few bins of the first round.
    return (1 + 1e-3 * np.random.default_rng(0).random(n)).astype(dtype), rule


def check_interrupts(c, rule, rounds, backend, call, *, samples=None):
    """Interrupt ``call(planner, second half)``, which counts the second half; the state must be the old or the new."""
    old = start(c, rule, rounds, backend)
    rest = c[len(c) // 2 :]
    expected = rrm_core.plan(c, **rule)

    def make():
        return Planner.from_partial(old, backend=backend)

    planner = make()
    call(planner, rest)
    new = planner.partial()
    outcomes = set()
    for instruction, planner in interrupted(make, lambda planner: call(planner, rest), samples=samples):
        found = planner.partial()
        has_counted = planner.n == len(c)
        assert same(found, new if has_counted else old), instruction
        assert finish(planner, c, rest[:0] if has_counted else rest) == expected, instruction
        outcomes.add(has_counted)
    return outcomes


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("case", "rounds"), [*product(CASES, (1, 2)), *product(HISTOGRAMS, (2,))])
def test_interrupted_update_counts_all_losses_or_none(case, rounds, dtype, backend):
    c, rule = data(case, dtype)
    samples = 5 if case in HISTOGRAMS else 25
    check_interrupts(c, rule, rounds, backend, lambda planner, rest: planner.update(rest), samples=samples)


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_interrupted_first_update_of_16_bits_sets_the_type_with_the_counts(backend):
    c = losses("exponential", 200, "float16")
    for instruction, planner in interrupted(
        lambda: Planner(gamma=1.0, backend=backend), lambda planner: planner.update(c)
    ):
        if not planner.n:
            planner.update(c.astype(np.float64))  # no type is fixed yet
            assert planner.n == len(c), instruction


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_interrupted_merge_adds_all_counts_or_none(case, rounds):
    c, rule = data(case, "float32")
    before = Planner.from_partial({"state": start(c, rule, rounds, None)["state"]})
    before.update(c[len(c) // 2 :])
    check_interrupts(c, rule, rounds, None, lambda planner, _: planner.merge(before), samples=25)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("case", [*CASES, "contamination, bins"])
def test_interrupted_advance_ends_the_round_or_does_not(case, dtype):
    c, rule = data(case, dtype)
    expected = rrm_core.plan(c, **rule)
    state = Planner(**rule).partial()
    while True:
        full = Planner.from_partial(state)
        full.update(c)
        old = full.partial()
        full.advance()
        new = full.partial()
        for instruction, planner in interrupted(
            lambda old=old: Planner.from_partial(old), Planner.advance, samples=20, seed=full.round
        ):
            assert same(planner.partial(), new if planner.n == 0 else old), instruction
            assert planner.done == (full.done and planner.n == 0), instruction
            if planner.n:
                planner.advance()
            while not planner.done:
                planner.update(c)
                planner.advance()
            assert planner.plan == expected, instruction
        if full.done:
            return
        state = {"state": new["state"]}


def test_interrupts_at_every_instruction_of_an_update():
    c, rule = data("contamination, keys", "float32")
    for rounds in (1, 2):
        outcomes = check_interrupts(c, rule, rounds, None, lambda planner, rest: planner.update(rest))
        assert outcomes == {True, False}


@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize("rule", [{"gamma": 1.0}, {"contamination": 0.3, "redistribute": 0.2}], ids=["gamma", "rank"])
@pytest.mark.parametrize("error", [MemoryError, OSError])
def test_update_of_losses_that_fail_to_convert_counts_nothing(error, rule, rounds):
    class Losses:
        def __array__(self, *_, **__):
            raise error

    c = losses("exponential", 200, "float32")
    planner = Planner.from_partial(start(c, rule, rounds, None))
    before = planner.partial()
    with pytest.raises((error, TypeError)):
        planner.update(Losses())
    assert same(planner.partial(), before)
    assert finish(planner, c, c[100:]) == rrm_core.plan(c, **rule)
