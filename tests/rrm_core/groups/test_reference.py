"""The numpy backend with groups, the reference of all others, against the definition and linear programs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import linprog

import rrm_core
from rrm_core.definition.formats import BY_STORAGE
from support.groups import ByHand, rules

DRAWS = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "with ties": lambda rng, n: rng.integers(0, 4, n) / 2,
    "all tied": lambda rng, n: np.full(n, 1.25),
    "negative, with zeros": lambda rng, n: -rng.integers(0, 3, n) / 4,
}


def draw(family, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    groups = rng.integers(0, rng.integers(1, 6), n)
    return DRAWS[family](rng, n).astype(rng.choice([np.float16, np.float32, np.float64])), groups


@pytest.mark.parametrize("family", DRAWS)
@pytest.mark.parametrize("seed", range(12))
def test_definition_sample_by_sample(family, seed):
    losses, groups = draw(family, seed)
    prepared = rrm_core.Groups(groups, n_groups=7)
    round_down = BY_STORAGE[losses.dtype].round_down
    for rule in rules(7):
        by_hand = ByHand(losses.astype(float).tolist(), groups.tolist(), rule, round_down)
        is_pruned_whole = any(by_hand.thresholds[k] < own[0] for k, own in by_hand.members.items())
        if is_pruned_whole and rule.mass == "group" and rule.redistribute != "drop":
            with pytest.raises(ValueError, match="mass='group' needs a kept sample"):
                rrm_core.plan(losses, groups=prepared, **vars_of(rule), backend="numpy")
            continue
        weights, plan = rrm_core.reweight(losses, groups=prepared, **vars_of(rule), backend="numpy")
        for k in range(7):
            if k in by_hand.members:
                assert plan.threshold[k] == by_hand.thresholds[k]
                assert plan.recipient_threshold[k] == by_hand.recipients[k]
                assert math.isclose(plan.removed[k], by_hand.removed()[k], rel_tol=1e-15)
            else:
                assert math.isnan(plan.threshold[k])
        np.testing.assert_allclose(
            weights, np.array(by_hand.targets(), weights.dtype), rtol=4 * np.finfo(weights.dtype).eps
        )


@pytest.mark.parametrize("family", DRAWS)
@pytest.mark.parametrize("seed", range(12))
def test_mass_of_groups_equals_separate_calls_to_the_bit(family, seed):
    losses, groups = draw(family, seed)
    old = np.random.default_rng(seed).exponential(size=len(losses)).astype(BY_STORAGE[losses.dtype].weights)
    shares = np.linspace(0, 0.9, groups.max() + 1)
    for redistribute in ("argmin", "kept", "drop", 0.3):
        for ties in ("keep", "share"):
            options = {"mu": 0.3, "redistribute": redistribute, "ties": ties, "backend": "numpy"}
            weights, plan = rrm_core.reweight(losses, old, groups=groups, contamination=shares, mass="group", **options)
            for k in np.unique(groups):
                mine = groups == k
                expected, own = rrm_core.reweight(losses[mine], old[mine], contamination=shares[k], **options)
                assert weights[mine].tobytes() == expected.tobytes()
                assert tuple(plan.levels[k]) == tuple(own.levels)


@pytest.mark.parametrize("rule", [{"contamination": 0.3}, {"contamination": 0.3, "ties": "share"}, {"gamma": 0.7}])
@pytest.mark.parametrize("redistribute", ["argmin", "kept", "drop", 0.3])
def test_one_threshold_for_all_groups_equals_a_call_without_groups(rule, redistribute):
    for family in DRAWS:
        losses, groups = draw(family, 5)
        options = {**rule, "redistribute": redistribute, "backend": "numpy"}
        weights, plan = rrm_core.reweight(losses, groups=groups, **options)
        expected, whole = rrm_core.reweight(losses, **options)
        assert weights.tobytes() == expected.tobytes()
        assert plan.n_pruned.sum() == whole.n_pruned
        assert math.isclose(plan.removed.sum(), whole.removed)
        assert math.isclose(plan.total_variation, whole.total_variation, abs_tol=1e-12)
        assert plan.largest_weight == whole.largest_weight
        assert math.isclose(plan.effective_sample_size, whole.effective_sample_size)


def vars_of(rule):
    """Return a rule as keyword arguments."""
    return {
        name: getattr(rule, name) for name in ("contamination", "gamma", "redistribute", "ties", "nan", "cap", "mass")
    }


# Linear programs. The variables are what is removed from each sample and what is added to it, as shares of the mass.


def solve(losses, removal_prices, addition_prices, balances):
    """Return the minimum of sum(p * losses) + sum(prices * changes), each row of `balances` keeping its mass."""
    n = len(losses)
    answer = linprog(
        np.concatenate([removal_prices - losses, addition_prices + losses]),
        A_eq=np.hstack([-balances, balances]),
        b_eq=np.zeros(len(balances)),
        bounds=[(0, 1 / n)] * n + [(0, None)] * n,
        method="highs",
    )
    assert answer.success
    return losses.mean() + answer.fun


def value(losses, weights, removal_prices, addition_prices):
    """Return the same for the distribution that weights define."""
    change = (weights - 1) / len(losses)
    prices = np.where(change < 0, -change * removal_prices, change * addition_prices)
    return float((losses * weights).mean() + prices.sum())


@pytest.mark.parametrize("seed", range(40))
def test_gamma_is_optimal_where_each_group_keeps_its_mass(seed):
    losses, groups = draw("exponential" if seed % 2 else "with ties", seed)
    losses = losses.astype(float)
    balances = (groups == np.unique(groups)[:, None]).astype(float)
    for gamma in (0.0, 0.4, 1.0, 10.0):
        weights, _ = rrm_core.reweight(losses, groups=groups, gamma=gamma, mass="group", backend="numpy")
        half = np.full(len(losses), gamma / 2)
        assert value(losses, weights, half, half) == pytest.approx(solve(losses, half, half, balances), abs=1e-8)
        for balance in balances:
            assert weights @ balance == pytest.approx(balance.sum())


@pytest.mark.parametrize("seed", range(40))
def test_quotas_are_optimal_for_the_prices_of_their_thresholds(seed):
    losses, groups = draw("exponential" if seed % 2 else "with ties", seed)
    losses = losses.astype(float)
    shares = np.random.default_rng(seed).choice([0.0, 0.2, 0.5], groups.max() + 1)
    free = np.zeros(len(losses))
    for mass, balances in (("all", np.ones((1, len(losses)))), ("group", (groups == np.unique(groups)[:, None]) * 1.0)):
        weights, plan = rrm_core.reweight(losses, groups=groups, contamination=shares, mass=mass, backend="numpy")
        prices = plan.gamma[groups]
        assert value(losses, weights, prices, free) == pytest.approx(solve(losses, prices, free, balances), abs=1e-8)


@pytest.mark.parametrize("seed", range(20))
def test_cap_is_optimal_for_the_prices_of_its_thresholds(seed):
    losses, groups = draw("exponential", seed)
    losses = losses.astype(float)
    weights, plan = rrm_core.reweight(losses, groups=groups, contamination=0.5, cap=0.4, backend="numpy")
    prices = plan.gamma[groups]
    free = np.zeros(len(losses))
    best = solve(losses, prices, free, np.ones((1, len(losses))))
    assert value(losses, weights, prices, free) == pytest.approx(best, abs=1e-8)


@pytest.mark.parametrize("seed", range(20))
def test_sample_prices_are_those_of_other_losses(seed):
    losses, _ = draw("exponential", seed)
    losses = losses.astype(float)
    gamma = 0.8
    bias = np.random.default_rng(seed).uniform(-gamma / 2, gamma / 2, len(losses))
    weights, _ = rrm_core.reweight(losses - bias, gamma=gamma, backend="numpy")
    removal = gamma / 2 + bias
    addition = gamma / 2 - bias
    best = solve(losses, removal, addition, np.ones((1, len(losses))))
    assert value(losses, weights, removal, addition) == pytest.approx(best, abs=1e-8)
