"""Partial results whose numbers contradict each other: rejected, with the documented errors only."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import rrm_core
from rrm_core import Planner
from rrm_core.definition.counting import BINS, MAX_LOSSES
from rrm_core.planner.rank_search import MAX_KEYS
from support.families import losses
from support.forged_partials import absurdity, drive, forge, genuine_partials
from support.planners import combined, planner_in_round_two

REJECTED = r"^partial is not a result of Planner.partial\(\) in this version: "

# Positions in "state".
N, CHECKSUM, N_NAN, MIN_KEY, THRESHOLD, RECIPIENTS = 9, 10, 11, 12, 13, 19
KEY, N_BELOW, N_INSIDE, RANK = 1, 2, 3, 4  # of a threshold


@pytest.fixture(scope="module")
def partials():
    return genuine_partials()


def test_genuine_partials_are_accepted(partials):
    for c, partial in partials:
        planner = Planner.from_partial(partial)
        assert all(np.array_equal(partial[name], array) for name, array in planner.partial().items())
        if planner.done:
            assert absurdity(planner.plan) is None
            assert planner.plan == rrm_core.plan(c, **_arguments(planner.rule))


def _arguments(rule):
    return {name: getattr(rule, name) for name in ("contamination", "gamma", "redistribute", "ties", "nan")}


@pytest.mark.parametrize("seed", range(4))
def test_altered_partials_lead_to_no_absurd_plan_and_to_documented_errors_only(seed, partials):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(300):
            rng = np.random.default_rng([seed, i])
            plan = drive(rng, *forge(rng, partials))
            assert plan is None or absurdity(plan) is None, (seed, i)


def altered(partial, name, place, number):
    array = partial[name].copy()
    array[place] = number
    return partial | {name: array}


@pytest.mark.parametrize(
    ("place", "change"),
    [
        (N, -900),
        (N, 2**50),
        (CHECKSUM, 2**33),
        (N_NAN, 1),
        (N_NAN, -5),
        (MIN_KEY, 1 << 29),
        (MIN_KEY, 1 << 33),
        (THRESHOLD + RANK, 100),
        (THRESHOLD + KEY, -(1 << 29)),
        (THRESHOLD + KEY, 1 << 30),
        (THRESHOLD + KEY, 1 << 62),
        (THRESHOLD + N_BELOW, -30),
        (THRESHOLD + N_BELOW, 30),
        (THRESHOLD + N_INSIDE, 2**40),
        (RECIPIENTS + RANK, 1),
        (RECIPIENTS + N_BELOW, 50),
        (RECIPIENTS + N_INSIDE, -100),
    ],
)
@pytest.mark.parametrize("rounds", [1, 2])
def test_state_that_contradicts_itself_is_rejected(rounds, place, change):
    c = losses("exponential", 1000, "float32")
    planner = planner_in_round_two(c, contamination=0.2, redistribute=0.3)
    if rounds == 2:
        planner.update(c)
        planner.advance()
        assert planner.done
    state = planner.partial()["state"]
    state[place] += change
    with pytest.raises(ValueError, match=REJECTED):
        Planner.from_partial({"state": state})


@pytest.mark.parametrize("field", [N_BELOW, N_INSIDE])
@pytest.mark.parametrize("target", [THRESHOLD, RECIPIENTS])
def test_plan_whose_counts_exceed_the_losses_is_rejected(target, field):
    c = losses("exponential", 1000, "float32")
    planner = planner_in_round_two(c, gamma=0.5)
    planner.update(c)
    planner.advance()
    for change in (-1001, 1001, 2**62):
        state = planner.partial()["state"]
        state[target + field] += change
        with pytest.raises(ValueError, match=REJECTED):
            Planner.from_partial({"state": state})


@pytest.mark.parametrize("round", [1, 2])
def test_from_partial_rejects_histograms_of_another_total(round):
    c = np.full(MAX_KEYS + 1, 0.7)
    planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
    planner.update(c)
    partial = planner.partial()
    partial["sums"][-BINS:] *= 2  # but not the number of losses
    with pytest.raises(ValueError, match=rf"{REJECTED}the counts contradict each other: .*; begin the round again$"):
        Planner.from_partial(partial)


def test_from_partial_rejects_missing_and_foreign_keys():
    c = losses("exponential", 10_000, "float32")
    planner = planner_in_round_two(c, contamination=0.2)
    planner.update(c)
    partial = planner.partial()
    keys = partial["keys"]
    assert len(keys) > 1
    for altered_keys in (keys[1:], np.append(keys, keys[0]), np.append(keys[1:], 0), -keys, keys[:0]):
        with pytest.raises(ValueError, match=rf"{REJECTED}the counts contradict each other"):
            Planner.from_partial(partial | {"keys": altered_keys})


def test_keys_counted_twice_are_reported_by_advance():
    c = losses("exponential", 1000, "float32")
    planner = planner_in_round_two(c, contamination=0.2)
    planner.update(c)
    partial = planner.partial()
    twice = Planner.from_partial(combined([partial, partial]))
    twice.update(c)
    again = Planner.from_partial(twice.partial())
    again.merge(planner)
    with pytest.raises(ValueError, match=r"^4_000 losses were counted in round 2, but 1_000 in the first"):
        again.advance()


@pytest.mark.parametrize("rule", [{"gamma": 1.0}, {"contamination": 0.2}], ids=["gamma", "contamination"])
def test_counts_at_pivots_that_contradict_the_first_round_end_no_round(rule):
    c = losses("exponential", 200, "float32")
    planner = planner_in_round_two(c, **rule)
    planner.update(c)
    partial = planner.partial()
    pivots = slice(2, 6)
    for change in (lambda x: x + 200, lambda x: x - 10**6, lambda x: x * 0, lambda x: x + 2**62):
        forged = altered(partial, "sums", pivots, change(partial["sums"][pivots]))
        with pytest.raises(ValueError, match=r"the counts contradict each other"):
            Planner.from_partial(forged).advance()


@pytest.mark.parametrize("name", ["state", "sums", "minima", "keys"])
def test_from_partial_rejects_arrays_of_other_types(name):
    planner = Planner(contamination=0.2)
    planner.update(losses("exponential", 100, "float32"))
    partial = planner.partial()
    beyond = partial[name].astype(np.uint64)
    beyond[:1] = 2**63
    others = [None, [2**70], np.array([object()]), np.zeros((2, 2), int), np.zeros(2, bool), "abc", [[1], [1, 2]]]
    for other in [*others, beyond][: len(others) + (len(beyond) > 0)]:
        with pytest.raises(ValueError, match=REJECTED):
            Planner.from_partial(partial | {name: other})


@pytest.mark.parametrize("partial", [None, 3, "state", [1, 2], np.zeros(3)], ids=str)
def test_from_partial_rejects_what_is_no_mapping(partial):
    with pytest.raises(TypeError, match=r"^partial must be a mapping of str to array, got"):
        Planner.from_partial(partial)


def test_number_of_losses_does_not_overflow():
    planner = Planner(contamination=0.2)
    planner.update(np.ones(3, np.float32))
    partial = planner.partial()
    partial["sums"][partial["sums"] == 3] = MAX_LOSSES - 1
    large = Planner.from_partial(partial)
    with pytest.raises(ValueError, match=r"losses are too many; a plan has fewer than 2\*\*47$"):
        large.merge(planner)
    assert large.n == MAX_LOSSES - 1
    with pytest.raises(ValueError, match=REJECTED):
        Planner.from_partial(combined([partial] * 2))
    with pytest.raises(ValueError, match=REJECTED):
        Planner.from_partial(altered(partial, "sums", 0, MAX_LOSSES))
    large.update(np.ones(5, np.float32))
    with pytest.raises(ValueError, match=r"^the counts contradict each other"):
        large.advance()
