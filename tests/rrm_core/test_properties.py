"""Properties that hold for all losses, tested with hypothesis."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import rrm_core
from support.families import BACKENDS, assert_same_bits

SIZES = st.integers(1, 60)
FINITE = st.floats(-1e6, 1e6, width=32)
FEW = st.sampled_from([0.0, -0.0, 1.0, 1.5, -2.0, 1e6])
ANY_LOSS = st.one_of(FINITE, FEW, st.just(math.inf))
PERCENT = st.integers(0, 99)
REDISTRIBUTE = st.one_of(st.sampled_from(["argmin", "kept", "drop"]), st.floats(0.01, 1.0))
CONTAMINATION = st.builds(
    lambda percent, ties: {"contamination": percent / 100, "ties": ties}, PERCENT, st.sampled_from(["keep", "share"])
)
GAMMA = st.builds(lambda gamma: {"gamma": gamma}, st.one_of(st.just(0.0), st.floats(0, 1e7), st.just(math.inf)))
RULES = st.builds(
    lambda threshold, redistribute: threshold | {"redistribute": redistribute},
    st.one_of(CONTAMINATION, GAMMA),
    REDISTRIBUTE,
)

backends = pytest.mark.parametrize("backend", BACKENDS)


def vectors(dtype=np.float64, elements=ANY_LOSS):
    """Draw losses of which at least one is finite."""
    return arrays(dtype, SIZES, elements=elements).filter(lambda c: np.isfinite(c).any())


@backends
@given(c=vectors(), rule=RULES)
def test_mean_weight_is_one(backend, c, rule):
    weights, plan = rrm_core.reweight(c, backend=backend, **rule)
    mass = c.size - plan.removed if rule["redistribute"] == "drop" else c.size
    assert math.isclose(math.fsum(weights), mass, rel_tol=1e-12)
    assert weights.min() >= 0


@backends
@given(c=vectors(), rule=RULES, mu=st.floats(0.01, 1.0), seed=st.integers(0, 2**32 - 1))
def test_mean_weight_stays_one_under_smoothing(backend, c, rule, mu, seed):
    old = np.random.default_rng(seed).exponential(size=c.size)
    weights, plan = rrm_core.reweight(c, old, mu=mu, backend=backend, **rule)
    mass = c.size - plan.removed if rule["redistribute"] == "drop" else c.size
    assert math.isclose(math.fsum(weights), (1 - mu) * math.fsum(old) + mu * mass, rel_tol=1e-12)


@backends
@given(c=vectors(np.float32), rule=RULES, seed=st.integers(0, 2**32 - 1))
def test_weights_are_equivariant_under_permutation(backend, c, rule, seed):
    order = np.random.default_rng(seed).permutation(c.size)
    weights, plan = rrm_core.reweight(c, backend=backend, **rule)
    permuted, permuted_plan = rrm_core.reweight(c[order], backend=backend, **rule)
    assert permuted_plan == plan
    assert_same_bits(permuted, weights[order])


@backends
@given(c=vectors(np.float32), percents=st.tuples(PERCENT, PERCENT))
def test_more_contamination_prunes_more(backend, c, percents):
    less, more = (rrm_core.reweight(c, contamination=x / 100, backend=backend)[0] == 0 for x in sorted(percents))
    assert (more | ~less).all()


@backends
@given(c=vectors(np.float32), gammas=st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)))
def test_larger_gamma_prunes_less(backend, c, gammas):
    more, less = (rrm_core.reweight(c, gamma=x, backend=backend)[0] == 0 for x in sorted(gammas))
    assert (more | ~less).all()


@backends
@given(c=vectors(np.float32), percent=PERCENT)
def test_at_most_the_quota_is_pruned(backend, c, percent):
    weights, plan = rrm_core.reweight(c, contamination=percent / 100, backend=backend)
    quota = percent * c.size // 100
    assert np.count_nonzero(weights == 0) == plan.n_pruned <= quota
    # Pruning the tied samples as well would exceed the quota.
    assert plan.n_pruned + plan.n_tied > quota
    if np.unique(c).size == c.size:
        assert plan.n_pruned == quota


@backends
@given(c=vectors(np.float32), percent=PERCENT)
def test_shared_ties_remove_exactly_the_quota(backend, c, percent):
    plan = rrm_core.plan(c, contamination=percent / 100, ties="share", redistribute="drop", backend=backend)
    assert plan.removed == percent * c.size // 100
    target, _ = rrm_core.reweight(
        c.astype(np.float64), contamination=percent / 100, ties="share", redistribute="drop", backend=backend
    )
    assert math.isclose(math.fsum(target), c.size - plan.removed, rel_tol=1e-12)


@backends
@given(c=vectors(np.float32, st.integers(-1000, 1000)), rule=RULES, shift=st.integers(-(2**20), 2**20))
def test_adding_a_constant_to_losses_changes_no_weight(backend, c, rule, shift):
    if "gamma" in rule and math.isfinite(rule["gamma"]):
        rule["gamma"] = float(round(rule["gamma"]))  # integers this small add without rounding
    weights, plan = rrm_core.reweight(c, backend=backend, **rule)
    shifted, shifted_plan = rrm_core.reweight(c + np.float32(shift), backend=backend, **rule)
    assert_same_bits(shifted, weights)
    if "contamination" in rule:
        assert shifted_plan.gamma == plan.gamma


@backends
@given(c=vectors(np.float32), rule=CONTAMINATION, exponent=st.integers(-20, 20))
def test_scaling_losses_changes_no_weight(backend, c, rule, exponent):
    c = np.where(np.abs(c) < 1e-20, np.float32(0), c)
    weights, plan = rrm_core.reweight(c, backend=backend, **rule)
    scaled, scaled_plan = rrm_core.reweight(np.ldexp(c, exponent), backend=backend, **rule)
    assert_same_bits(scaled, weights)
    if math.isfinite(plan.threshold):
        assert scaled_plan.gamma == math.ldexp(plan.gamma, exponent)


@backends
@given(c=vectors(np.float32), rule=RULES)
def test_wider_type_changes_no_decision(backend, c, rule):
    narrow, plan = rrm_core.reweight(c, backend=backend, **rule)
    wide, wide_plan = rrm_core.reweight(c.astype(np.float64), backend=backend, **rule)
    assert_same_bits(wide.astype(np.float32), narrow)
    for field in ("n", "loss_min", "n_pruned", "n_recipients", "removed"):
        assert getattr(plan, field) == getattr(wide_plan, field)


@backends
@given(c=vectors(), rule=RULES, mu=st.floats(0.05, 0.95))
def test_repeated_steps_approach_the_target(backend, c, rule, mu):
    target, _ = rrm_core.reweight(c, backend=backend, **rule)
    weights = None
    for step in range(1, 6):
        weights, _ = rrm_core.reweight(c, weights, mu=mu, backend=backend, **rule)
        left = (1 - mu) ** step
        np.testing.assert_allclose(weights, left + (1 - left) * target, rtol=1e-13, atol=1e-13)


@backends
@given(c=vectors(np.float32), rule=RULES)
def test_missing_weights_are_ones(backend, c, rule):
    ones, _ = rrm_core.reweight(c, np.ones(c.size, np.float32), mu=0.3, backend=backend, **rule)
    none, _ = rrm_core.reweight(c, mu=0.3, backend=backend, **rule)
    assert_same_bits(none, ones)


@backends
@settings(max_examples=50)
@given(c=vectors(np.float32), rule=RULES)
def test_repeated_call_returns_the_same(backend, c, rule):
    before = c.copy()
    weights, plan = rrm_core.reweight(c, backend=backend, **rule)
    again, plan_again = rrm_core.reweight(c, weights, backend=backend, **rule)
    assert plan_again == plan == rrm_core.plan(c, backend=backend, **rule)
    assert_same_bits(again, weights)
    assert_same_bits(rrm_core.apply(plan, c, weights, backend=backend), weights)
    assert_same_bits(c, before)


@backends
@given(c=vectors(np.float32), rule=RULES)
def test_weights_do_not_increase_with_the_loss(backend, c, rule):
    weights, _ = rrm_core.reweight(c, backend=backend, **rule)
    ordered = weights[np.argsort(c, kind="stable")]
    assert (np.diff(ordered) <= 0).all()
