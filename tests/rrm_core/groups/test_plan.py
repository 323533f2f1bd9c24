"""GroupedPlan: an immutable value with arrays."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import rrm_core

LOSSES = np.array([0.1, 0.3, 0.2, 4.0, 0.4, np.nan], np.float32)
GROUPS = rrm_core.Groups([0, 1, 1, 0, 1, 1], n_groups=3)


def make(contamination=(0.5, 0.5, 0.5)):
    return rrm_core.plan(LOSSES, groups=GROUPS, contamination=contamination, nan="prune")


def test_fields():
    plan = make()
    assert (plan.n, plan.n_groups, plan.dtype) == (6, 3, "float32")
    assert plan.rule.contamination == (0.5, 0.5, 0.5)
    np.testing.assert_array_equal(plan.threshold, [np.float32(0.1), np.float32(0.3), np.nan])
    np.testing.assert_array_equal(plan.loss_min, [np.float32(0.1), np.float32(0.2), np.nan])
    assert plan.sizes.tolist() == [2, 4, 0]
    assert plan.n_pruned.tolist() == [1, 2, 0]
    assert plan.n_tied.tolist() == [1, 1, 0]
    assert plan.n_nan.tolist() == [0, 1, 0]
    assert plan.n_recipients.tolist() == [1, 0, 0]
    assert plan.removed.tolist() == [1, 2, 0]
    assert plan.levels.tolist() == [[0, 1, 1, 4, 4]] * 3
    np.testing.assert_array_equal(plan.pruned_fraction, [0.5, 0.5, np.nan])
    np.testing.assert_allclose(plan.gamma, [0, 0.2, np.nan], rtol=1e-6)
    assert plan.largest_weight == 4
    assert plan.total_variation == 0.5
    assert plan.effective_sample_size == 36 / 18


def test_summary():
    plan = make()
    assert repr(plan) == (
        "GroupedPlan(n=6, n_groups=3, n_pruned=3 (50.0 %; of a group 50.0 to 50.0 %), largest_weight=4, "
        "effective_sample_size=2, n_nan=1)"
    )
    assert str(plan).splitlines()[1:] == [
        "   group     samples      pruned   share   threshold",
        "       0           2           1  50.0 %         0.1",
        "       1           4           2  50.0 %         0.3",
        "       2           0           0       -           -",
    ]
    many = rrm_core.plan(np.arange(12.0), groups=np.arange(12), contamination=0.2)
    assert str(many).splitlines()[-1] == "     ... and 2 more groups"


def test_value():
    plan = make()
    assert plan == make()
    assert hash(plan) == hash(make())
    assert plan != make((0.5, 0.25, 0.5))
    assert plan != 1
    assert plan == copy.copy(plan) == copy.deepcopy(plan) == pickle.loads(pickle.dumps(plan))
    for array in (plan.threshold, pickle.loads(pickle.dumps(plan)).levels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(AttributeError):
        plan.n = 3


def test_plan_applies_to_parts():
    plan = rrm_core.plan(LOSSES[:5], groups=[0, 1, 1, 0, 1], contamination=[0.5, 0.5])
    whole = rrm_core.apply(plan, LOSSES[:5], groups=[0, 1, 1, 0, 1])
    parts = [rrm_core.apply(plan, LOSSES[:2], groups=[0, 1]), rrm_core.apply(plan, LOSSES[2:5], groups=[1, 0, 1])]
    assert np.concatenate(parts).tolist() == whole.tolist()


@pytest.mark.parametrize("make", ["numpy.array", "torch.tensor"])
def test_shares_that_change_between_calls(make):
    package, _, function = make.partition(".")
    shares = getattr(pytest.importorskip(package), function)([0.0, 0.5])
    for name, rule in (("contamination", {}), ("cap", {"contamination": 0.5})):
        shares[0] = 0.0
        unchanged = rrm_core.plan(LOSSES[:5], groups=[0, 1, 1, 0, 1], **rule, **{name: shares})
        shares[0] = 0.5
        changed = rrm_core.plan(LOSSES[:5], groups=[0, 1, 1, 0, 1], **rule, **{name: shares})
        assert (unchanged.n_pruned[0], changed.n_pruned[0]) == (0, 1)


def test_shares_in_single_precision_count_as_their_decimals():
    rule = rrm_core.Rule(contamination=np.array([0.29, 0.7], np.float32))
    assert rule.contamination == (0.29, 0.7)
    assert rule.group_ranks(np.array([100, 10])).tolist() == [71, 3]
