from __future__ import annotations

import re

import numpy as np
import pytest
import torch

import rrm_core
from rrm_torch import distributed
from support import planning_jobs
from support.rank_jobs import on_ranks

SIZES = (1, 2, 3, 4, 8)


def the_same_on_all(results):
    """Return what all ranks have returned or raised."""
    assert all(type(result) is type(results[0]) for result in results), results
    assert len({str(result) for result in results}) == 1, results
    return results[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_plan_and_weights_match_a_single_process(size, dtype):
    every = min(16 * size, 65)  # of the rules, one in so many for each family and way to spread; which one differs
    assert the_same_on_all(on_ranks(size, planning_jobs.plans, 1025, dtype, every)) >= 3 * 15 * (65 // every)


@pytest.mark.parametrize("n", [1, 2, 9])
def test_fewer_samples_than_ranks(n):
    assert the_same_on_all(on_ranks(4, planning_jobs.plans, n, "float32", 64)) >= 45


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_groups_match_a_single_process(dtype):
    assert the_same_on_all(on_ranks(3, planning_jobs.grouped_plans, 60, dtype)) == 9


@pytest.mark.parametrize(
    ("groups", "n_groups", "message"),
    [
        ([[0, 1], [1, 2]], [2, 2], r"^rank 1: groups must lie in \[0, 2\), but 1 of 2 do not, the first 2 at index 1$"),
        ([[0, 1], None], [2, 2], r"^rank 1: the planner has 2 groups; pass those of these losses as groups$"),
        ([[0, 1], [0, 1]], [2, 3], r"^rank 1 has another number of groups than rank 0; give the same"),
        ([[0, 1], [0, 1]], [None, None], r"^rank 0: n_groups is required with groups, unless contamination or cap"),
    ],
)
def test_invalid_groups_of_a_rank_are_an_error_on_all(groups, n_groups, message):
    outcome = the_same_on_all(on_ranks(2, planning_jobs.plan_with_own_groups, groups, n_groups))
    assert isinstance(outcome, ValueError)
    assert re.search(message, str(outcome)), outcome


def parts(*values, dtype=torch.float32):
    return [torch.tensor(part, dtype=dtype) for part in values]


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "rule", "error", "message"),
    [
        (
            parts([1, 2], [3, NAN, NAN], []),
            {"contamination": 0.2},
            ValueError,
            r"^losses contain 2 NaN among 5, the first at index 3; .* \(index 3 is on rank 1, its own index 1\)$",
        ),
        (
            parts([1, NAN], [3], [4, -INF]),
            {"gamma": 1.0, "nan": "prune"},
            ValueError,
            r"^losses contain 1 values of -inf among 5, the first at index 4;.* \(.* rank 2, its own index 1\)$",
        ),
        (
            parts([1, 2], [], [NAN]),
            {"gamma": 1.0},
            ValueError,
            r"^losses contain 1 NaN among 3, the first at index 2; .* \(index 2 is on rank 2, its own index 0\)$",
        ),
        (parts([INF], [], [INF]), {"gamma": 1.0}, ValueError, r"^losses contain no finite value: 2 of 2 are \+inf"),
        (parts([], [], []), {"gamma": 1.0}, ValueError, r"^no losses were counted; at least one sample is needed$"),
        ([*parts([1.0], [2.0]), [[3.0]]], {"gamma": 1.0}, ValueError, r"^rank 2: losses must be one-dimensional, got"),
        ([*parts([1.0], [2.0]), "3"], {"gamma": 1.0}, TypeError, r"^rank 2: losses must be a one-dimensional array"),
        (
            [*parts([1.0]), torch.ones(2, dtype=torch.float64), *parts([3.0])],
            {"gamma": 1.0},
            TypeError,
            r"^losses must be float(32|64), as those before, got float(64|32)",
        ),
        (parts([1], [2], [3]), {"contamination": 2}, ValueError, r"^rank 0: contamination must lie in \[0, 1\), got 2"),
    ],
    ids=["nan", "low", "first of its rank", "infinite", "none", "shape", "text", "types", "rule"],
)
def test_error_on_one_rank_is_raised_on_all(given, rule, error, message):
    outcome = the_same_on_all(on_ranks(3, planning_jobs.plan_of_parts, given, rule))
    assert type(outcome) is error
    with pytest.raises(error, match=message):
        raise outcome


@pytest.mark.parametrize(
    ("weights", "mu", "error", "message"),
    [
        (parts([1], [1, 1], []), 0.5, ValueError, r"^rank 1: weights must have one entry per loss, got 2"),
        ([*parts([1]), torch.ones(1, dtype=torch.float16), *parts([])], 0.5, TypeError, r"^rank 1: weights must be"),
        (parts([1], [1], []), 5.0, ValueError, r"^rank 0: mu must lie in \(0, 1\], got 5"),
        (
            parts([1], [1], []),
            "half",
            TypeError,
            r"^rank 0: mu must be a number, got 'half'",
        ),  # also where there are none
    ],
    ids=["length", "type", "mu", "text"],
)
def test_invalid_weights_or_mu_raise_on_all_ranks(weights, mu, error, message):
    outcome = the_same_on_all(on_ranks(3, planning_jobs.weights_of_parts, parts([1], [2], []), weights, mu))
    assert type(outcome) is error
    with pytest.raises(error, match=message):
        raise outcome


@pytest.mark.parametrize("other", [{"contamination": 0.3}, {"gamma": 0.2}, {"contamination": 0.2, "redistribute": 0.1}])
def test_rejects_different_rules(other):
    outcome = the_same_on_all(on_ranks(2, planning_jobs.plan_under_own_rule, [{"contamination": 0.2}, other]))
    assert str(outcome) == "rank 1 has another rule than rank 0; give the same on all ranks"


@pytest.mark.parametrize(
    ("mu", "message"),
    [
        (1.0, "rank 1 has another mu than rank 0; give the same on all ranks"),
        (5.0, "rank 1: mu must lie in (0, 1], got 5.0"),
    ],
)
def test_rejects_different_mu(mu, message):
    outcome = the_same_on_all(on_ranks(2, planning_jobs.weights_under_own_mu, [0.5, mu]))
    assert str(outcome) == message


def test_detects_other_collective_and_encodes_any_message():
    first, second = on_ranks(2, planning_jobs.other_collective_and_undecodable_message)
    assert first == [
        "ranks called different collectives: all ranks must call the same methods in the same order",
        *second,
    ]
    assert second == ["rank 1: no file ?"]


def test_raises_own_error_if_other_ranks_have_ended():
    assert on_ranks(2, planning_jobs.error_without_other_ranks, timeout=2) == ["", "no such file"]


HEAD, MINIMA, CALL = 8 * 8, 8 * 5, 8 * 64  # bytes
RULES = [
    {"contamination": 0.2},
    {"contamination": 0.2, "redistribute": 0.1},
    {"gamma": 0.5},
    {"gamma": 0.5, "redistribute": 0.1},
]


def expected_traffic(c, rule):
    """Return what each rank has to give, by what a planner of all losses counts; and the plan."""
    planner, sums = rrm_core.Planner(**rule), []
    while not planner.done:
        planner.update(c)
        partial = planner.partial()
        sums += [8 * len(partial[name]) for name in ("sums", "keys") if len(partial[name])]
        planner.advance()
    counted = {
        "sum calls": sum(-(-given // 2**20) for given in sums),
        "sum bytes": sum(sums),
        "minimum calls": planner.round,
        "minimum bytes": planner.round * MINIMA,
        "gather calls": planner.round,
        "gather bytes": CALL + 8 * (planner.round - 1),
    }
    return counted, planner.plan


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("n", [1000, 200_000])
def test_traffic_matches_the_formula(size, n):
    c = planning_jobs.losses("exponential", n, "float32")
    expected = [expected_traffic(c, rule) for rule in RULES]
    for counted, _ in expected:
        assert HEAD + 8 * 65_536 + HEAD <= counted["sum bytes"] < HEAD + 8 * 65_536 + HEAD + 8 * n // 50
    for of_rank in on_ranks(size, planning_jobs.traffic, c, RULES):
        assert of_rank == expected


@pytest.mark.parametrize(("dtype", "rounds"), [("float32", 2), ("float64", 4)])
def test_later_rounds_count_keys_in_bins(dtype, rounds):
    c = planning_jobs.close_together(200_000, dtype)
    gamma = float(np.median(c) - c.min())
    rules = [{"contamination": 0.2}, {"contamination": 0.3, "redistribute": 0.1}, {"gamma": gamma, "redistribute": 0.1}]
    expected = [expected_traffic(c, rule) for rule in rules]
    for counted, _ in expected:
        assert counted["minimum calls"] == rounds
        assert counted["sum bytes"] > 2 * 8 * 65_536
    assert expected[1][0]["sum bytes"] > 3 * 8 * 65_536  # where two thresholds are looked for
    for of_rank in on_ranks(3, planning_jobs.traffic, c, rules):
        assert of_rank == expected


def test_rejects_uninitialised_process_group():
    with pytest.raises(RuntimeError, match="there are no ranks: start the script with torchrun, and call"):
        distributed.plan(np.ones(3), contamination=0.2)
