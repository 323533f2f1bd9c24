"""Dask arrays with groups: the plan and the weights of the whole array."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

import rrm_core
from support.families import assert_same_bits

N = 400
N_GROUPS = 5
RNG = np.random.default_rng(4)
LOSSES = np.round(RNG.exponential(size=N), 1)
GROUPS = RNG.integers(0, N_GROUPS - 1, N)
OLD = RNG.random(N)
SHARES = [0.1, 0.2, 0.3, 0.4, 0.5]
RULES = (
    {"contamination": SHARES, "ties": "share", "mass": "group"},
    {"contamination": 0.3, "cap": 0.4, "redistribute": 0.2},
    {"gamma": 1.0, "mass": "group", "redistribute": "kept"},
)
CHUNKS = ((150, 150, 100),)


@pytest.fixture(autouse=True)
def scheduler():
    """Compute in this thread."""
    with dask.config.set(scheduler="synchronous"):
        yield


GROUPS_OF_KIND = {
    "prepared": rrm_core.Groups(GROUPS, N_GROUPS),
    "Dask, prepared": rrm_core.Groups(da.from_array(GROUPS, chunks=97), N_GROUPS),
    # The rule tells the number of groups.
    "Dask": da.from_array(GROUPS.astype(np.uint8), chunks=97),
    "NumPy": GROUPS,
    "list": GROUPS.tolist(),
}


@pytest.mark.parametrize(
    ("kind", "rule", "dtype"),
    [
        *((kind, 0, "float16") for kind in GROUPS_OF_KIND),
        ("prepared", 1, "float32"),
        ("Dask, prepared", 1, "float64"),
        ("prepared", 2, "float64"),
        ("Dask, prepared", 2, "float32"),
    ],
)
def test_results_match_those_of_the_whole_array(kind, rule, dtype):
    losses = LOSSES.astype(dtype)
    old = OLD.astype(np.float64 if dtype == "float64" else np.float32)
    lazy = da.from_array(losses, chunks=CHUNKS)
    prepared = rrm_core.Groups(GROUPS, N_GROUPS)
    weights, plan = rrm_core.reweight(losses, old, mu=0.3, groups=prepared, **RULES[rule])
    groups = GROUPS_OF_KIND[kind]
    result, same = rrm_core.reweight(lazy, da.from_array(old, chunks=130), mu=0.3, groups=groups, **RULES[rule])
    assert same == plan
    assert isinstance(result, da.Array)
    assert result.chunks == lazy.chunks
    assert_same_bits(result.compute(), weights)
    assert rrm_core.plan(lazy, groups=groups, **RULES[rule]) == plan
    applied = rrm_core.apply(plan, lazy, groups=groups)
    assert_same_bits(applied.compute(), rrm_core.apply(plan, losses, groups=prepared))


def test_groups_are_not_computed_before_they_are_used():
    n_computed = []

    def block(x):
        n_computed.append(len(x))
        return x

    lazy = da.from_array(GROUPS, chunks=100).map_blocks(block, dtype=GROUPS.dtype, meta=GROUPS[:0])
    groups = rrm_core.Groups(lazy, N_GROUPS)
    assert not n_computed
    assert groups.sizes.tolist() == np.bincount(GROUPS, minlength=N_GROUPS).tolist()
    assert rrm_core.Groups(lazy) is not None
    assert n_computed == [100] * 8


def test_dask_groups_that_are_too_large_are_refused_where_they_are_used():
    groups = rrm_core.Groups(changed(333, N_GROUPS), N_GROUPS)
    message = r"groups must lie in \[0, 5\), but 1 of \d+ do not, the first 5 at index 333"
    for use in (
        lambda: rrm_core.plan(LAZY, groups=groups, gamma=1.0),
        lambda: rrm_core.Planner(gamma=1.0, n_groups=N_GROUPS).update(LOSSES, groups=groups),
        lambda: rrm_core.stream.plan(LOSSES, groups=groups, gamma=1.0),
        lambda: groups.sizes,
    ):
        with pytest.raises(ValueError, match=message):
            use()
    plan = rrm_core.plan(LAZY, groups=GROUPS, contamination=SHARES)
    weights = rrm_core.apply(plan, LAZY, groups=groups)
    with pytest.raises(ValueError, match="groups must lie in"):
        weights.compute()


def test_empty_blocks():
    lazy = da.from_array(LOSSES, chunks=((0, 250, 0, 150),))
    expected, plan = rrm_core.reweight(LOSSES, groups=GROUPS, contamination=SHARES)
    result, same = rrm_core.reweight(lazy, groups=GROUPS, contamination=SHARES)
    assert same == plan
    assert_same_bits(result.compute(), expected)


def changed(index, number):
    groups = GROUPS.copy()
    groups[index] = number
    return da.from_array(groups, chunks=100)


LAZY = da.from_array(LOSSES, chunks=CHUNKS)


@pytest.mark.parametrize(
    ("losses", "groups", "options", "error", "message"),
    [
        (LAZY, changed(0, 0), {"contamination": 0.1}, ValueError, "the number of groups is required where groups are"),
        (
            LAZY,
            changed(333, 5),
            {},
            ValueError,
            r"groups must lie in \[0, 5\), but 1 of 100 do not, the first 5 at index 333",
        ),
        (LAZY, changed(0, 0).astype(float), {}, TypeError, "groups must be integers, got float64"),
        (LAZY, changed(0, 0)[1:], {}, ValueError, "groups must have one entry per loss, got shape"),
        (LAZY, GROUPS[1:], {}, ValueError, "groups must have one entry per loss, got 399 for 400 losses"),
        (LAZY, rrm_core.Groups(GROUPS, 4), {}, ValueError, "contamination must have one value per group, got 5 for 4"),
        (LOSSES, changed(0, 0), {}, TypeError, "losses must be a Dask array where groups are one, got ndarray"),
        (LAZY[LAZY > 0.2], GROUPS, {}, ValueError, "losses have chunks of unknown size"),
        (LAZY, LAZY[LAZY > 0.2].astype(int), {}, ValueError, "groups have chunks of unknown size"),
    ],
)
def test_invalid_groups_are_refused(losses, groups, options, error, message):
    with pytest.raises(error, match=message):
        rrm_core.plan(losses, groups=groups, **({"contamination": SHARES} | options))


def test_foreign_losses_are_detected_in_their_block():
    plan = rrm_core.plan(LAZY + 1, groups=GROUPS, contamination=SHARES)
    weights = rrm_core.apply(plan, LAZY, groups=GROUPS)
    with pytest.raises(ValueError, match="values that the planned ones can't have contained"):
        weights.compute()
