"""The plan of a planner with groups equals that of all losses, however they are split, counted and merged."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import rrm_core
from rrm_core import Planner

DTYPES = ("float16", "bfloat16", "float32", "float64")
N = 97


def as_type(values, dtype):
    """Return losses of a type; bfloat16 as a torch tensor."""
    if dtype == "bfloat16":
        torch = pytest.importorskip("torch")
        return torch.from_numpy(values).to(torch.bfloat16)
    return values.astype(dtype)


def make_losses(rng, n, dtype):
    """Return losses with ties, infinite ones, both zeros, negative ones, or NaN, or of a wide range."""
    values = rng.normal(size=n)
    kind = rng.integers(5)
    if kind == 0:
        values = np.round(2 * values) / 2
    elif kind == 1:
        values = np.where(rng.random(n) < 0.2, math.inf, values)
    elif kind == 2:
        values = np.where(rng.random(n) < 0.2, math.nan, values)
    elif kind == 3:
        values *= np.exp(rng.normal(scale=20, size=n))
    return as_type(np.where(np.isinf(values), values, np.clip(values, -6e4, 6e4)), dtype)


def make_rule(rng, n_groups):
    """Return a rule with groups: every kind of threshold, way to redistribute, mass and policy for ties."""
    rule = {
        "redistribute": ["argmin", "kept", "drop", 0.1, 1.0][rng.integers(5)],
        "mass": ["all", "group"][rng.integers(2)],
        "nan": ["prune", "prune", "raise"][rng.integers(3)],
    }
    shares = np.round(0.9 * rng.random(n_groups), 2)
    ties = ["keep", "share"][rng.integers(2)]
    kind = rng.integers(5)
    if kind == 0:
        return rule | {"gamma": [0.0, 0.5, 3.0, math.inf][rng.integers(4)]}
    if kind == 1:
        return rule | {"contamination": 0.3, "ties": ties}
    if kind == 2:
        return rule | {"contamination": shares, "ties": ties}
    return rule | {"contamination": 0.3, "cap": 0.4 if kind == 3 else shares}


def plan_in_parts(losses, groups, bounds, rng, **options):
    """Return the plan of parts that lie between bounds, each counted by a planner of its own in every round."""
    planner = Planner(**options)
    backend = options.get("backend")
    while not planner.done:
        start = planner.partial()
        parts = list(pairwise(bounds))
        for i in rng.permutation(len(parts)):
            first, last = parts[i]
            partial = start if rng.random() < 0.5 else {"state": start["state"]}
            other = Planner.from_partial(partial, backend=backend)
            other.update(losses[first:last], groups=groups[first:last], offset=first)
            planner.merge(Planner.from_partial(other.partial(), backend=backend))
        planner.advance()
    return planner.plan


def outcome(function, *arguments, **options):
    """Return the result of a function, or the message of its ValueError."""
    try:
        return function(*arguments, **options)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_groups", [1, 2, 10, N])
def test_plan_matches_that_of_all_losses(n_groups, dtype, backend):
    rng = np.random.default_rng([n_groups, DTYPES.index(dtype)])
    for case in range(10):
        n = int(rng.choice([1, 9, N]))
        losses, rule = make_losses(rng, n, dtype), make_rule(rng, n_groups)
        # Some groups have no loss; or each loss is a group.
        groups = rng.permutation(N)[:n] if n_groups == N else rng.integers(0, n_groups, n)
        bounds = [0, *sorted(rng.integers(0, n + 1, 2).tolist()), n]
        # Up to ten rounds.
        n_bits = int(rng.integers(8, 11) if dtype == "float64" else rng.integers(5, 9))
        memory = (8 << n_bits) * (2 * n_groups + 2)
        expected = outcome(rrm_core.plan, losses, groups=rrm_core.Groups(groups, n_groups), backend=backend, **rule)
        options = rule | {"n_groups": n_groups, "group_memory": memory, "backend": backend}
        found = outcome(plan_in_parts, losses, groups, bounds, rng, **options)
        assert found == expected, f"{case=} {n=} {rule=}"


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_memory_decides_about_the_number_of_rounds_only(backend):
    rng = np.random.default_rng(0)
    n_groups = 1000
    losses = rng.exponential(size=20_000).astype(np.float32)
    groups = rng.integers(0, n_groups, len(losses))
    shares = np.round(0.9 * rng.random(n_groups), 2)
    expected = rrm_core.plan(losses, groups=groups, contamination=shares, redistribute="kept")
    for memory, rounds in ((None, 3), (4 << 20, 4), (128_000, 8)):
        planner = Planner(contamination=shares, redistribute="kept", group_memory=memory, backend=backend)
        while not planner.done:
            planner.update(losses, groups=groups)
            assert memory is None or planner.partial()["sums"].nbytes < memory + 4 * 8 * n_groups
            planner.advance()
        assert planner.plan == expected
        assert planner.round == rounds
    with pytest.raises(
        ValueError, match=r"group_memory must be at least 128_000 bytes for 1_000 groups .* got 127_999"
    ):
        Planner(contamination=shares, group_memory=127_999)


def test_number_of_groups_follows_from_shares():
    assert Planner(contamination=[0.1, 0.2]).n_groups == 2
    assert Planner(contamination=0.1, cap=[0.1, 0.2, 0.3]).n_groups == 3
    assert Planner(contamination=0.1).n_groups is None
    rule = rrm_core.Rule(contamination=0.1, cap=0.5)
    assert Planner.from_rule(rule, n_groups=4).n_groups == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contamination": [0.1, 0.2], "n_groups": 3}, "contamination must have one value per group, got 2 for 3"),
        ({"contamination": 0.1, "cap": 0.5}, "cap needs groups"),
        ({"contamination": 0.1, "mass": "group"}, "mass='group' needs groups"),
        ({"contamination": 0.1, "n_groups": 0}, "n_groups must be a whole number, at least 1, or None, got 0"),
        ({"contamination": 0.1, "n_groups": 1 << 31}, "n_groups must be below 2"),
        ({"contamination": 0.1, "group_memory": 1 << 20}, "group_memory needs groups"),
    ],
)
def test_planner_rejects_invalid_options_of_groups(options, message):
    with pytest.raises(ValueError, match=message):
        Planner(**options)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        (None, ValueError, "the planner has 2 groups; pass those of these losses as groups"),
        ([0, 1], ValueError, "groups must have one entry per loss, got 2 for 3 losses"),
        ([0, 1, 2], ValueError, r"groups must lie in \[0, 2\), but 1 of 3 do not, the first 2 at index 2"),
        ([0, -1, 1], ValueError, r"groups must lie in \[0, 2\), but 1 of 3 do not, the first -1 at index 1"),
        ([0.0, 1.0, 1.0], TypeError, "groups must be integers, got float64"),
        (rrm_core.Groups([0, 1, 2]), ValueError, r"groups must lie in \[0, 2\)"),
    ],
)
def test_update_rejects_invalid_groups_and_counts_nothing(groups, error, message):
    planner = Planner(contamination=0.1, n_groups=2)
    with pytest.raises(error, match=message):
        planner.update(np.ones(3), groups=groups)
    assert planner.n == 0
    assert not planner.partial()["sums"].any()


def test_update_without_groups_rejects_groups():
    with pytest.raises(ValueError, match="the planner has none; leave them out, or make it with n_groups"):
        Planner(contamination=0.1).update(np.ones(3), groups=[0, 1, 0])


def test_update_accepts_prepared_groups_of_fewer_groups_and_no_losses():
    planner = Planner(contamination=0.5, n_groups=5)
    planner.update(np.arange(3.0), groups=rrm_core.Groups([0, 1, 0]))
    planner.update(np.empty(0), groups=np.empty(0, np.int64))
    assert planner.n == 3


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
@pytest.mark.parametrize("change", ["loss", "group", "swap", "missing"])
def test_advance_rejects_losses_or_groups_that_changed(change, backend):
    losses = np.arange(8, dtype=np.float32)
    groups = np.arange(8) % 2
    planner = Planner(contamination=[0.25, 0.5], backend=backend)
    planner.update(losses, groups=groups)
    planner.advance()
    if change == "loss":
        losses[3] += 0.5
    elif change == "group":
        groups[3] = 0
    elif change == "swap":
        groups[[2, 3]] = groups[[3, 2]]
    planner.update(losses[change == "missing" :], groups=groups[change == "missing" :])
    with pytest.raises(ValueError, match="were counted in round 2"):
        planner.advance()
    assert planner.round == 2


@pytest.mark.parametrize("backend", ["cpp", "numpy"])
def test_advance_rejects_groups_that_are_exchanged_though_all_counts_agree(backend):
    losses = np.array([0.0, 0.0, 1.0, 1.5])
    planner = Planner(gamma=5.0, n_groups=2, backend=backend)
    planner.update(losses, groups=[0, 1, 0, 1])
    planner.advance()
    planner.update(losses, groups=[0, 1, 1, 0])
    with pytest.raises(ValueError, match="other losses or groups were counted in round 2"):
        planner.advance()


def test_merge_rejects_planners_of_other_groups():
    planner = Planner(contamination=0.1, n_groups=2)
    for other in (Planner(contamination=0.1), Planner(contamination=0.1, n_groups=3)):
        with pytest.raises(ValueError, match="another selection"):
            planner.merge(other)


def test_partial_of_a_done_planner_has_the_plan():
    losses = np.arange(12, dtype=np.float64)
    groups = np.arange(12) % 3
    planner = Planner(contamination=[0.25, 0.5, 0.0], mass="group", redistribute=0.5)
    while not planner.done:
        planner.update(losses, groups=groups)
        planner = Planner.from_partial(planner.partial())
        planner.advance()
    assert Planner.from_partial(planner.partial()).plan == planner.plan
