from __future__ import annotations

import numpy as np
import pytest
import torch

import planning_jobs
import rrm_core
from rank_jobs import on_ranks
from rrm_torch import distributed

SIZES = (1, 2, 3, 4, 8)


def the_same_on_all(results):
    """Return what all ranks have returned or raised."""
    assert all(type(result) is type(results[0]) for result in results), results
    assert len({str(result) for result in results}) == 1, results
    return results[0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_plans_and_weights_are_those_of_one_process(size, dtype):
    every = 16 * size  # of the rules, one in so many for each family and way to spread; which one differs
    assert the_same_on_all(on_ranks(size, planning_jobs.plans, 1025, dtype, every)) >= 3 * 15 * 65 // every - 45


@pytest.mark.parametrize("n", [1, 2, 9])
def test_fewer_samples_than_ranks(n):
    assert the_same_on_all(on_ranks(4, planning_jobs.plans, n, "float32", 64)) >= 45


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
        (parts([INF], [], [INF]), {"gamma": 1.0}, ValueError, r"^losses contain no finite value: 2 of 2 are \+inf"),
        (parts([], [], []), {"gamma": 1.0}, ValueError, r"^no losses were counted; at least one sample is needed$"),
        ([*parts([1.0], [2.0]), [[3.0]]], {"gamma": 1.0}, ValueError, r"^rank 2: losses must be one-dimensional, got"),
        ([*parts([1.0], [2.0]), "3"], {"gamma": 1.0}, TypeError, r"^rank 2: losses must be an array"),
        (
            [*parts([1.0]), torch.ones(2, dtype=torch.float64), *parts([3.0])],
            {"gamma": 1.0},
            TypeError,
            r"^losses must be float(32|64), as those before, got float(64|32)",
        ),
        (parts([1], [2], [3]), {"contamination": 2}, ValueError, r"^rank 0: contamination must lie in \[0, 1\), got 2"),
    ],
    ids=["nan", "low", "infinite", "none", "shape", "text", "types", "rule"],
)
def test_what_is_wrong_on_one_rank_is_raised_on_all(given, rule, error, message):
    found = the_same_on_all(on_ranks(3, planning_jobs.plan_of_parts, given, rule))
    assert type(found) is error
    with pytest.raises(error, match=message):
        raise found


COUNTS, HEAD, CALL = 8 * 65_536, 8 * 8, 8 * 64  # bytes


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_bytes_are_those_of_the_formula_whatever_n(size):
    rules = [{"contamination": 0.2}, {"contamination": 0.2, "redistribute": 0.1}, {"gamma": 0.5}]
    for n in (1000, 200_000):
        expected, keys = [], [0, 0, 0]
        c = planning_jobs.losses("exponential", n, "float32")
        for i, rule in enumerate(rules):
            planner = rrm_core.Planner(**rule)
            while not planner.done:
                planner.update(c)
                keys[i] += 8 * len(planner.partial()["keys"])
                planner.advance()
            assert planner.round == 2
            expected.append(
                {
                    "sum calls": 3,
                    "sum bytes": HEAD + COUNTS + HEAD + keys[i],
                    "minimum calls": 2,
                    "minimum bytes": 2 * 5 * 8,
                    "gather calls": 2,
                    "gather bytes": CALL + 8,
                }
            )
        found = on_ranks(size, planning_jobs.traffic, n, rules, "float32")
        for of_rank in found:
            for counted, wanted in zip(of_rank, expected, strict=True):
                assert counted["sum bytes"] == wanted["sum bytes"]
                assert counted["minimum bytes"] == wanted["minimum bytes"]
                assert counted["gather bytes"] == wanted["gather bytes"]


def test_without_ranks_it_says_how_to_start_them():
    with pytest.raises(RuntimeError, match="there are no ranks: start the script with torchrun, and call"):
        distributed.plan(np.ones(3), contamination=0.2)
