"""Wrong arguments with groups: one clear error each, and nothing written."""

from __future__ import annotations

import re

import array_api_strict as xp
import numpy as np
import pytest

import rrm_core

LOSSES = np.array([0.1, 0.3, 0.2, 4.0, 0.4], np.float32)
GROUPS = np.array([0, 1, 1, 0, 1])

WRONG = {
    "below 0": (
        {"groups": GROUPS - 1},
        ValueError,
        r"groups must lie in \[0, 1\), but 2 of 5 do not, the first -1 at index 0",
    ),
    "beyond the quotas": (
        {"groups": GROUPS + 1, "contamination": [0.1, 0.2]},
        ValueError,
        r"groups must lie in \[0, 2\), but 3 of 5 do not, the first 2 at index 1",
    ),
    "too few": ({"groups": GROUPS[:4]}, ValueError, "groups must have one entry per loss, got 4 for 5 losses"),
    "too many": (
        {"groups": rrm_core.Groups(np.zeros(6, int))},
        ValueError,
        "groups must have one entry per loss, got 6 for 5 losses",
    ),
    "floats": ({"groups": GROUPS * 1.0}, TypeError, "groups must be integers, got float64; number the groups 0, 1, 2"),
    "bools": ({"groups": GROUPS > 0}, TypeError, "groups must be integers, got bool"),
    "text": ({"groups": ["a", "b", "b", "a", "b"]}, TypeError, "groups must be integers, got <U1"),
    "a name": ({"groups": "column"}, TypeError, "groups must be integers, got <U6"),
    "a number": ({"groups": 3}, ValueError, r"groups must be one-dimensional, got shape \(\)"),
    "a ragged list": ({"groups": [[0], [1, 1]]}, TypeError, "groups must be an array or a flat list of integers"),
    "two dimensions": ({"groups": GROUPS[None]}, ValueError, r"groups must be one-dimensional, got shape \(1, 5\)"),
    "huge numbers": ({"groups": GROUPS + 2**31}, ValueError, r"groups must be fewer than 2\*\*31, got 2_147_483_650"),
    "quotas for other groups": (
        {"groups": rrm_core.Groups(GROUPS, 3), "contamination": [0.1, 0.2]},
        ValueError,
        "contamination must have one value per group, got 2 for 3 groups",
    ),
    "cap for other groups": (
        {"groups": rrm_core.Groups(GROUPS, 3), "cap": [0.1, 0.2]},
        ValueError,
        "cap must have one value per group, got 2 for 3 groups",
    ),
    "quota of 1": (
        {"contamination": [0.1, 1.0]},
        ValueError,
        r"contamination must lie in \[0, 1\), got 1.0 for group 1; it is a share, not a %",
    ),
    "cap of 1": ({"cap": 1.0}, ValueError, r"cap must lie in \[0, 1\), got 1.0; it is a share, not a %"),
    "cap below 0": ({"cap": [0.5, -0.1]}, ValueError, r"cap must lie in \[0, 1\), got -0.1 for group 1"),
    "cap that is NaN": ({"cap": [0.5, np.nan]}, ValueError, r"cap must lie in \[0, 1\), got nan for group 1"),
    "cap as text": ({"cap": "half"}, TypeError, "cap must be a number, got 'half' of type str"),
    "quotas of no group": ({"contamination": []}, ValueError, r"contamination must be a number or an array of shape"),
    "quotas in two dimensions": ({"contamination": [[0.1, 0.2]]}, ValueError, r"got shape \(1, 2\)"),
    "quotas in a ragged list": (
        {"contamination": [[0.1], [0.2, 0.3]]},
        TypeError,
        "contamination must be a number or an array of numbers, one per group: ",
    ),
    "quotas by name": (
        {"contamination": {"a": 1}},
        TypeError,
        "contamination must be a number or an array of numbers",
    ),
    "quotas with cap": (
        {"contamination": [0.1, 0.2], "cap": 0.5},
        ValueError,
        "cap needs one contamination for all groups",
    ),
    "cap with gamma": ({"contamination": None, "gamma": 1.0, "cap": 0.5}, ValueError, "cap needs contamination"),
    "cap with shared ties": (
        {"cap": 0.5, "ties": "share"},
        ValueError,
        "ties='share' needs a contamination without cap",
    ),
    "unknown mass": ({"mass": "class"}, ValueError, "mass must be 'all' or 'group', got 'class'"),
    "a group pruned whole that keeps its mass": (
        {"groups": [0, 0, 0, 1, 0], "mass": "group"},
        ValueError,
        "mass='group' needs a kept sample in each group, but all 1 of group 1 lie above the threshold of all; pass cap",
    ),
    "quotas without groups": (
        {"groups": None, "contamination": [0.1, 0.2]},
        ValueError,
        "contamination has 2 values, one per group, but groups is None",
    ),
    "cap without groups": ({"groups": None, "cap": 0.5}, ValueError, "cap needs groups"),
    "mass without groups": ({"groups": None, "mass": "group"}, ValueError, "mass='group' needs groups"),
}


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy", "array_api"])
@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case, backend):
    arguments, error, message = WRONG[case]
    arguments = {"groups": GROUPS, "contamination": 0.25, **arguments}
    weights = np.full(5, 7, np.float32)
    with pytest.raises(error, match=message):
        rrm_core.reweight(LOSSES, weights, out=weights, backend=backend, **arguments)
    assert weights.tolist() == [7] * 5
    with pytest.raises(error, match=message):
        rrm_core.plan(LOSSES, backend=backend, **arguments)


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy", "array_api"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.1, np.nan, 0.2, np.nan, 0.4], "losses contain 2 NaN among 5, the first at index 1"),
        ([0.1, 0.3, -np.inf, 4.0, 0.4], "losses contain 1 values of -inf among 5, the first at index 2"),
        (
            [np.inf, 0.3, 0.2, np.inf, 0.4],
            "losses contain no finite value in 1 of 2 groups: in group 0, 2 of 2 are +inf and 0 NaN",
        ),
    ],
)
def test_losses_that_cannot_be_reweighted(values, message, backend):
    weights = np.full(5, 7, np.float32)
    losses = np.array(values, np.float32)
    with pytest.raises(ValueError, match=re.escape(message)):
        rrm_core.reweight(losses, weights, out=weights, groups=GROUPS, contamination=[0.1, 0.2], backend=backend)
    assert weights.tolist() == [7] * 5


def test_nan_that_another_thread_overwrites_before_they_are_counted(monkeypatch):
    extension = pytest.importorskip("rrm_core._cpu")
    monkeypatch.setattr(extension, "find_non_finite", lambda *_: (0, -1, 0, -1))
    losses = np.array([0.1, np.nan, 0.2, 4.0, 0.4], np.float32)
    with pytest.raises(RuntimeError, match="losses changed while they were read"):
        rrm_core.reweight(losses, groups=GROUPS, contamination=0.2, backend="cpp")


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy", "array_api"])
def test_group_of_nan_is_refused_where_nan_are_pruned(backend):
    losses = np.array([np.nan, 0.3, 0.2, np.nan, 0.4], np.float32)
    with pytest.raises(ValueError, match=r"in group 0, 0 of 2 are \+inf and 2 NaN"):
        rrm_core.plan(losses, groups=GROUPS, contamination=0.1, nan="prune", backend=backend)


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy", "array_api"])
@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-1.0, "-1")])
def test_invalid_old_weights(value, shown, backend):
    old = np.array([1, 1, value, 1, value], np.float32)
    with pytest.raises(ValueError, match=f"weights must be finite .* 2 of 5 are not, the first {shown} at index 2"):
        rrm_core.reweight(LOSSES, old, mu=0.5, groups=GROUPS, contamination=0.2, backend=backend)


@pytest.mark.parametrize("n_groups", [3, 17], ids=["looked up", "sorted"])
@pytest.mark.parametrize("redistribute", ["kept", "argmin"])
def test_invalid_old_weights_among_many(redistribute, n_groups):
    n = 70_001
    losses = np.random.default_rng(0).exponential(size=n)
    old = np.ones(n, np.float32)
    old[[n - 1, 60_000, 7]] = np.inf, np.nan, -0.5
    rule = {"contamination": 0.2, "redistribute": redistribute, "groups": np.arange(n) % n_groups}
    for threads in (1, 3):
        with pytest.raises(ValueError, match=r"weights must be .* 3 of 70_001 are not, the first -0.5 at index 7; "):
            rrm_core.reweight(losses.astype(np.float32), old, mu=0.5, threads=threads, **rule)


@pytest.mark.parametrize("backend", ["cpp", "numba", "numpy", "array_api"])
def test_apply_to_losses_of_another_plan(backend):
    groups = rrm_core.Groups(GROUPS, n_groups=3)
    plan = rrm_core.plan(LOSSES, groups=groups, contamination=0.2, backend=backend)
    with pytest.raises(ValueError, match="losses contain 1 values that the planned ones can't have contained"):
        rrm_core.apply(plan, LOSSES - np.float32([0, 0.2, 0, 0, 0]), groups=GROUPS, backend=backend)
    with pytest.raises(ValueError, match=r"losses contain 2 values .* in a group without samples"):
        rrm_core.apply(plan, LOSSES[:2], groups=[2, 2], backend=backend)
    with pytest.raises(ValueError, match=r"losses contain 1 values .* NaN in a group without NaN"):
        rrm_core.apply(plan, np.float32([np.nan, 0.3]), groups=[0, 1], backend=backend)
    with pytest.raises(ValueError, match=r"groups must lie in \[0, 3\), but 1 of 2 do not, the first 3 at index 1"):
        rrm_core.apply(plan, LOSSES[:2], groups=[0, 3], backend=backend)
    with pytest.raises(TypeError, match="losses must be float32, as the planned ones were, got float64"):
        rrm_core.apply(plan, LOSSES.astype(float), groups=GROUPS, backend=backend)


def test_groups_on_another_device():
    elsewhere = xp.asarray(GROUPS, device=xp.Device("device1"))
    with pytest.raises(TypeError, match=r"got array_api_strict array on .*device1.* for losses as numpy array on cpu"):
        rrm_core.plan(LOSSES, groups=elsewhere, contamination=0.2)
    with pytest.raises(TypeError, match=r"for losses as array_api_strict array on .*CPU_DEVICE.*; copy groups to the"):
        rrm_core.plan(xp.asarray(LOSSES), groups=elsewhere, contamination=0.2)


def test_group_below_0_of_a_type_with_fewer_numbers_than_groups():
    groups = xp.asarray([0, -1], dtype=xp.int8)
    with pytest.raises(ValueError, match=r"groups must lie in \[0, 300\), but 1 of 2 do not, the first -1 at index 1"):
        rrm_core.Groups(groups, n_groups=300)


def test_plan_and_groups_belong_together():
    grouped = rrm_core.plan(LOSSES, groups=GROUPS, contamination=0.2)
    with pytest.raises(ValueError, match="the plan was made for 2 groups; pass those of these losses as groups"):
        rrm_core.apply(grouped, LOSSES)
    plan = rrm_core.plan(LOSSES, contamination=0.2)
    with pytest.raises(ValueError, match="groups were given, but the plan was made without groups"):
        rrm_core.apply(plan, LOSSES, groups=GROUPS)
    with pytest.raises(ValueError, match=r"groups must lie in \[0, 2\), those of the plan, got 3 groups"):
        rrm_core.apply(grouped, LOSSES, groups=rrm_core.Groups(GROUPS, 3))
