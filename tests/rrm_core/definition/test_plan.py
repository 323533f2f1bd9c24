"""Plan: an immutable value whose derived attributes match the weights."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest

import rrm_core
from support.families import DTYPES, FAMILIES, losses, reweight_cases

FIVE = [0.1, 0.3, 0.2, 4.0, 0.4]


def test_repr_shows_attributes():
    assert repr(rrm_core.plan(FIVE, contamination=0.2)) == (
        "Plan(n=5, threshold=0.4, gamma=0.3, n_pruned=1 (20.0 %), n_tied=1, n_recipients=1, largest_weight=2, "
        "effective_sample_size=3.57)"
    )


def test_repr_groups_digits_and_shows_n_nan():
    c = np.arange(1_200_000.0)
    c[7:11] = np.nan
    assert repr(rrm_core.plan(c, gamma=999_999.5, redistribute=0.5, nan="prune")) == (
        "Plan(n=1_200_000, threshold=1e+06, gamma=1e+06, n_pruned=200_004 (16.7 %), n_tied=0, n_recipients=600_000, "
        "largest_weight=1.33334, effective_sample_size=981_814, n_nan=4)"
    )


def test_plan_is_frozen():
    plan = rrm_core.plan(FIVE, contamination=0.2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.threshold = 0.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.rule.contamination = 0.5
    with pytest.raises(AttributeError):
        plan.levels.kept = 0.0


def test_plans_are_equal_by_value():
    plan, twin = (rrm_core.plan(FIVE, contamination=0.2) for _ in range(2))
    assert plan == twin
    assert hash(plan) == hash(twin)
    assert len({plan, twin}) == 1
    assert plan != rrm_core.plan(FIVE, contamination=0.4)
    assert plan != rrm_core.plan(FIVE, contamination=0.2, redistribute="drop")
    assert plan != rrm_core.plan(np.array(FIVE, np.float32), contamination=0.2)
    assert plan != rrm_core.plan([0.0, *FIVE[1:]], contamination=0.2)


@pytest.mark.parametrize("rule", [{"contamination": 0.2}, {"gamma": 1.0, "redistribute": 0.4}])
def test_pickle_round_trip(rule):
    plan = rrm_core.plan(FIVE, **rule)
    copy = pickle.loads(pickle.dumps(plan))
    assert copy == plan
    assert repr(copy) == repr(plan)
    np.testing.assert_array_equal(rrm_core.apply(copy, FIVE), rrm_core.apply(plan, FIVE))


def test_fields_are_plain_python_numbers():
    for backend in rrm_core.available_backends():
        plan = rrm_core.plan(np.array(FIVE, np.float32), contamination=0.2, redistribute=0.4, backend=backend)
        for field in dataclasses.fields(plan):
            if field.name not in ("rule", "levels", "dtype"):
                assert type(getattr(plan, field.name)) in (int, float), (backend, field.name)
        assert {type(level) for level in plan.levels} == {float}, backend


def test_plan_keeps_the_rule():
    plan = rrm_core.plan(FIVE, contamination=np.float32(0.25), redistribute=np.float64(0.5), ties="share", nan="prune")
    assert (plan.rule.contamination, plan.rule.gamma) == (0.25, None)
    assert (plan.rule.redistribute, plan.rule.ties, plan.rule.nan) == (0.5, "share", "prune")
    assert type(plan.rule.contamination) is type(plan.rule.redistribute) is float


def test_zero_is_not_negative():
    for c in ([-0.0, 1.0], [0.0, -0.0, 1.0], [-0.0, 0.0, 1.0]):
        for backend in rrm_core.available_backends():
            plan = rrm_core.plan(c, gamma=0.0, backend=backend)
            for x in (plan.loss_min, plan.threshold, plan.recipient_threshold):
                assert math.copysign(1, x) == 1, backend


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [1, 2, 33, 256])
def test_derived_attributes_match_the_weights(family, n):
    for dtype in DTYPES:
        c = losses(family, n, dtype).astype(np.float64)
        for rule, _, _ in reweight_cases(family):
            with np.errstate(over="ignore"):
                w, plan = rrm_core.reweight(c, **rule)
            assert plan.pruned_fraction == np.count_nonzero(~(c <= plan.threshold)) / n, rule
            assert plan.largest_weight == w.max(), rule
            assert math.isclose(plan.total_variation, np.abs(w / n - 1 / n).sum() / 2, abs_tol=1e-13), rule
            assert math.isclose(plan.effective_sample_size, w.sum() ** 2 / (w**2).sum(), rel_tol=1e-12), rule
            if "gamma" in rule:
                assert plan.gamma == rule["gamma"]
            else:
                assert plan.gamma == plan.threshold - np.nanmin(c)


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_match_the_losses(family):
    for dtype in DTYPES:
        c = losses(family, 257, dtype)
        values = c.astype(np.float64)
        for rule, _, _ in reweight_cases(family):
            plan = rrm_core.plan(c, **rule)
            assert (plan.n, plan.dtype) == (257, dtype)
            assert plan.n_nan == np.isnan(values).sum()
            assert plan.n_pruned == (~(values <= plan.threshold)).sum()
            assert plan.n_tied == (values == plan.threshold).sum()
            assert plan.n_recipients == (values <= plan.recipient_threshold).sum()
            assert plan.loss_min == np.nanmin(values)
            assert plan.loss_min <= plan.threshold
            assert plan.recipient_threshold <= plan.threshold


def test_total_variation_and_sample_size_by_hand():
    plan = rrm_core.plan([0.0, 1.0, 2.0, 3.0], contamination=0.25)  # weights 2, 1, 1, 0
    assert plan.total_variation == 0.25
    assert plan.effective_sample_size == 16 / 6
    assert plan.largest_weight == 2
    dropped = rrm_core.plan([0.0, 1.0, 2.0, 3.0], contamination=0.25, redistribute="drop")  # 1, 1, 1, 0
    assert dropped.total_variation == 0.125
    assert dropped.effective_sample_size == 3
