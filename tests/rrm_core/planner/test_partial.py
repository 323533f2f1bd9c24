"""Partial results of a planner: combining, merging, malformed ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import rrm_core
from rrm_core import Planner
from rrm_core.definition.counting import MISSING
from rrm_core.definition.formats import BY_NAME, FLOAT32
from support.families import DTYPES, losses, reweight_cases
from support.planners import combined, count_in_parts, planner_in_round_two, split


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", ["exponential", "NaN", "capped", "zeros of both signs", "same leading bits"])
def test_partial_results_combine_as_documented(family, dtype):
    c, rng = losses(family, 30_011, dtype), np.random.default_rng(2)
    for rule, _, _ in list(reweight_cases(family))[::8]:
        planner = Planner(**rule)
        while not planner.done:
            counted = []
            for begin, part in split(c, rng, 4):
                own = Planner.from_partial(planner.partial())
                own.update(part, offset=begin)
                counted.append(own.partial())
            planner = Planner.from_partial(combined(counted))
            planner.advance()
        assert planner.plan == rrm_core.plan(c, **rule), rule


@pytest.mark.parametrize("dtype", DTYPES)
def test_partial_result_of_a_done_planner_contains_the_plan(dtype):
    for family, rule in (
        ("exponential", {"gamma": 0.5}),
        ("NaN", {"contamination": 0.3, "redistribute": 0.1, "nan": "prune"}),
    ):
        c = losses(family, 1000, dtype)
        planner = count_in_parts(c, np.random.default_rng(0), **rule)
        partial = planner.partial()
        assert sum(array.nbytes for array in partial.values()) < 1000
        assert Planner.from_partial(partial).plan == rrm_core.plan(c, **rule)
        assert Planner.from_partial({"state": partial["state"]}).plan == planner.plan


def test_state_alone_is_enough_to_count():
    c = losses("exponential", 1000, "float64")
    planner = Planner(gamma=0.5, redistribute=0.3)
    while not planner.done:
        state = planner.partial()["state"]
        assert state.nbytes < 1000
        for part in (c[:1], c[1:]):
            other = Planner.from_partial({"state": state})
            other.update(part)
            planner.merge(other)
        planner.advance()
    assert planner.plan == rrm_core.plan(c, gamma=0.5, redistribute=0.3)


def test_merge_does_not_change_the_other_planner():
    one, other = Planner(contamination=0.2), Planner(contamination=0.2)
    one.update(np.ones(3, np.float32))
    other.update(np.zeros(2, np.float32))
    before = other.partial()
    one.merge(other)
    one.update(np.ones(5, np.float32))
    assert (one.n, other.n) == (10, 2)
    for name, array in other.partial().items():
        assert_array_equal(array, before[name])


def test_partial_results_are_copies():
    planner = Planner(contamination=0.2)
    planner.update(np.ones(3, np.float32))
    partial = planner.partial()
    copy = Planner.from_partial(partial)
    partial["sums"][:] = 7
    partial["minima"][:] = 7
    assert (planner.n, copy.n) == (3, 3)
    assert_array_equal(copy.partial()["minima"], planner.partial()["minima"])


def rejected_merges():
    c = losses("exponential", 100, "float32")
    d = c + np.float32(100)
    counted = Planner(contamination=0.2)
    counted.update(np.ones(3))
    yield (
        "no planner",
        Planner(contamination=0.2),
        3,
        TypeError,
        "other must be a Planner, got int; Planner",
    )
    yield "rule", Planner(contamination=0.2), Planner(gamma=0.2), ValueError, "other has another rule: Rule"
    yield (
        "round",
        Planner(contamination=0.2),
        planner_in_round_two(c, contamination=0.2),
        ValueError,
        "other is in round 2",
    )
    yield (
        "old round",
        planner_in_round_two(c, contamination=0.2),
        Planner(contamination=0.2),
        ValueError,
        "other is in round 1",
    )
    yield (
        "losses",
        *(planner_in_round_two(x, contamination=0.2) for x in (c, d)),
        ValueError,
        "other is in round 2 of ano",
    )
    same_points = (planner_in_round_two(x, gamma=0.0) for x in (np.array([1, 2, 3.5]), np.array([1, 2, 3.25])))
    yield "losses of the same minimum", *same_points, ValueError, "other is in round 2 of another"
    typed = Planner(contamination=0.2)
    typed.update(c)
    yield "type", typed, counted, TypeError, "losses must be float32, as those before, got float64"
    yield "itself", typed, typed, ValueError, "other is this planner itself, whose losses would be counted twice"


@pytest.mark.parametrize("case", range(8), ids=lambda i: f"case {i}")
def test_rejected_merge_changes_nothing(case):
    _, one, other, error, message = list(rejected_merges())[case]
    before = one.partial()
    with pytest.raises(error, match=f"^{message}"):
        one.merge(other)
    for name, array in one.partial().items():
        assert_array_equal(array, before[name])


def malformed(partial):
    """Yield malformed partial results, each with its error message."""
    state = partial["state"]
    for name in ("state", "sums", "minima", "keys"):
        yield f"it lacks '{name}'", {key: array for key, array in partial.items() if key != name}
    yield "arrays of another length", partial | {"sums": partial["sums"][1:]}
    yield "arrays of another length", partial | {"minima": partial["minima"][:3]}
    yield r"keys must be a vector of int64, got shape \(2, 2\)", partial | {"keys": np.zeros((2, 2), np.int64)}
    yield r"state must be a vector of int64, got shape \(\)", partial | {"state": np.int64(1)}
    yield r"sums must be a vector of int64, got shape .* and type float64", partial | {"sums": partial["sums"] / 2}
    yield r"state must be a vector of int64, got shape \(1,\) and type <U1", partial | {"state": np.array(["a"])}
    yield "an empty state", partial | {"state": state[:0]}
    yield "version 2, not 1", partial | {"state": np.concatenate([[2], state[1:]])}
    yield "a state of 24 numbers, not 25", partial | {"state": state[:-1]}
    yield "losses of types", partial | {"minima": np.where(np.arange(5) == 3, 17, partial["minima"])}
    # Invalid values of single numbers: redistribution, NaN policy, round, type, n, targets.
    for place, number in ((3, 4), (3, -1), (2, -1), (7, 0), (7, -3), (8, 4), (9, -1), (13, 3), (18, 17), (18, 64)):
        yield "", partial | {"state": np.where(np.arange(len(state)) == place, number, state)}


@pytest.mark.parametrize("round", [1, 2])
def test_from_partial_rejects_malformed_results(round):
    c = losses("exponential", 100, "float32")
    planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
    planner.update(c)
    for message, partial in malformed(planner.partial()):
        with pytest.raises(
            ValueError, match=rf"^partial is not a result of Planner.partial\(\) in this version: .*{message}"
        ):
            Planner.from_partial(partial)


@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 4), max_size=24), cut=st.integers(0, 25))
def test_from_partial_rejects_random_states(numbers, cut):
    state = planner_in_round_two(losses("exponential", 100, "float32"), contamination=0.2).partial()["state"]
    state[cut : cut + len(numbers)] = numbers[: len(state[cut:])]
    try:
        planner = Planner.from_partial({"state": state})
    except ValueError as error:
        assert str(error).startswith("partial is not a result of Planner.partial() in this version: ")  # noqa: PT017
    else:
        assert_array_equal(planner.partial()["state"], state)


@pytest.mark.parametrize("round", [1, 2])
def test_from_partial_rejects_mixed_types(round):
    partials = []
    for dtype in ("float32", "float64"):
        c = losses("exponential", 100, dtype)
        planner = Planner(contamination=0.2) if round == 1 else planner_in_round_two(c, contamination=0.2)
        planner.update(c)
        partials.append(planner.partial())
    if round == 2:
        partials = [partials[0], {name: partials[i][name] for name, i in zip(partials[0], (0, 0, 1, 0), strict=True)}]
    with pytest.raises(TypeError, match=r"^losses must be float32, as those before, got float64$"):
        Planner.from_partial(combined(partials))
    nothing = Planner(contamination=0.2).partial()  # has no type, and agrees with every one
    if round == 1:
        assert Planner.from_partial(combined([nothing, partials[1]])).n == 100


def test_layout_of_minima():
    planner = Planner(contamination=0.2, nan="prune")
    assert planner.partial()["minima"].tolist() == [MISSING] * 5
    planner.update(np.array([np.nan, 2.0, np.nan], np.float32), offset=10)
    lowest, *rest = planner.partial()["minima"].tolist()
    assert rest == [10, MISSING, FLOAT32.code, -FLOAT32.code]
    assert lowest + 2**63 == FLOAT32.key(2.0)
    assert {format.code for format in BY_NAME.values()} == {0, 1, 2, 3}
