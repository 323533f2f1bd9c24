"""Rounds of a planner: how many, what they collect, and losses that change between them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import rrm_core
from rrm_core.definition.counting import BINS
from rrm_core.planner.rank_search import MAX_KEYS
from support.families import DTYPES, losses
from support.planners import plan_of, planner_in_round_two


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("family", "rounds"),
    [
        ("exponential", {"float32": 2, "float64": 2}),  # few losses in a bin: their keys are collected
        ("constant", {"float32": 2, "float64": 4}),
        ("same leading bits", {"float32": 2, "float64": 4}),
        ("capped", {"float32": 2, "float64": 4}),
    ],
)
def test_number_of_rounds(family, rounds, dtype):
    c = losses(family, 2 * MAX_KEYS + 1000, dtype)
    plan, n_rounds = plan_of([c[:10], c[10:]], contamination=0.2)
    assert n_rounds == rounds.get(dtype, 1)
    assert plan == rrm_core.plan(c, contamination=0.2)


@pytest.mark.parametrize(("n", "rounds"), [(MAX_KEYS, 2), (MAX_KEYS + 1, 4)])
def test_keys_are_collected_up_to_max_keys(n, rounds):
    c = np.full(n, 0.7)
    plan, n_rounds = plan_of([c], contamination=0.2)
    assert (n_rounds, plan) == (rounds, rrm_core.plan(c, contamination=0.2))


def test_two_ranges_share_the_limit_of_collected_keys():
    rng = np.random.default_rng(0)
    c = np.concatenate([1 + 1e-4 * rng.random(MAX_KEYS), 1.6 + 1e-4 * rng.random(MAX_KEYS // 2), np.full(10, 3.0)])
    rule = {"contamination": 10 / len(c), "redistribute": 0.4}
    assert plan_of([c[: MAX_KEYS // 2], c[MAX_KEYS // 2 :]], **rule)[0] == rrm_core.plan(c, **rule)
    planner = planner_in_round_two(c, **rule)
    assert len(planner._round.counts._ranges) == 2
    planner.update(c)
    assert len(planner.partial()["sums"]) > 2 * BINS  # histograms
    planner.advance()
    planner.update(c)
    assert len(planner.partial()["sums"]) < BINS  # taken


def test_collected_keys_hold_no_other_memory():
    c = np.concatenate([np.linspace(0.5, 0.501, 50_000), np.linspace(2.0, 3.0, 50_000)])
    planner = planner_in_round_two(c, contamination=0.75)
    for part in np.array_split(c, 100):
        planner.update(part)
    assert sum(memory.nbytes for memory in planner._round.counts._key_memory) <= 8 * 50_000


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("rule", [{"contamination": 0.2}, {"gamma": 0.5}], ids=["contamination", "gamma"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "collects"), [(1000, True), (300_000, False)], ids=["keys", "counts"])
def test_advance_rejects_losses_that_changed_between_rounds(n, collects, dtype, rule, backend):
    c = np.full(n, 0.7, dtype) if not collects else losses("exponential", n, dtype)
    c[:2] = 0.1, 0.2

    def second_round(*parts):
        planner = planner_in_round_two(c, backend=backend, **rule)
        for part in parts:
            planner.update(part)
        before = planner.partial()
        try:
            planner.advance()
        except ValueError:
            for name, array in planner.partial().items():
                assert_array_equal(array, before[name])
            raise
        return planner

    assert second_round(c[::-1].copy()).round in (2, 3)  # the order does not matter
    swapped = c.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    second_round(swapped)
    for parts, count in (([c[1:]], n - 1), ([c, c[-1:]], n + 1), ([], 0), ([c, c], 2 * n)):
        with pytest.raises(
            ValueError, match=rf"^{count:_} losses were counted in round 2, but {n:_} in the first; give"
        ):
            second_round(*parts)
    inside_the_bin = c.copy()
    inside_the_bin[5] = np.nextafter(inside_the_bin[5], inside_the_bin.dtype.type(9))
    outside_the_bin = c.copy()
    outside_the_bin[n // 2] = -7.0
    last = c.copy()
    last[-1] = 5.0
    for changed in (inside_the_bin, outside_the_bin, last):
        with pytest.raises(
            ValueError, match=r"^other losses were counted in round 2 than in the first; give every loss"
        ):
            second_round(changed)


def test_missing_part_can_be_counted_after_a_failed_advance():
    c = losses("exponential", 1000, "float32")
    planner = planner_in_round_two(c, contamination=0.2)
    planner.update(c[:700])
    with pytest.raises(ValueError, match=r"^700 losses were counted"):
        planner.advance()
    planner.update(c[700:])
    planner.advance()
    assert planner.plan == rrm_core.plan(c, contamination=0.2)
