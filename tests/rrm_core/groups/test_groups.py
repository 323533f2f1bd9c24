"""Groups: group numbers prepared for many calls."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import rrm_core

LOSSES = np.array([0.1, 0.3, 0.2, 4.0, 0.4], np.float32)
NUMBERS = [0, 1, 1, 0, 1]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", ">i4"])
def test_integers_of_all_types(dtype):
    groups = rrm_core.Groups(np.array(NUMBERS, dtype))
    assert groups.numbers.tolist() == NUMBERS
    assert groups.numbers.dtype == np.int32
    assert groups.sizes.tolist() == [2, 3]
    assert len(groups) == 5


def test_numbers_are_copied():
    numbers = np.array(NUMBERS, np.int32)
    groups = rrm_core.Groups(numbers)
    numbers[:] = 1
    assert groups.numbers.tolist() == NUMBERS


@pytest.mark.parametrize("copy_of", [lambda x: x, copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_numbers_are_read_only(copy_of):
    groups = rrm_core.Groups(NUMBERS, n_groups=3)
    rrm_core.plan(LOSSES, groups=groups, contamination=0.2)
    copied = copy_of(groups)
    assert (copied.numbers.tolist(), copied.n_groups) == (NUMBERS, 3)
    with pytest.raises(ValueError, match="read-only"):
        copied.numbers[0] = 3


def test_pandas_series():
    pandas = pytest.importorskip("pandas")
    assert rrm_core.Groups(pandas.Series(NUMBERS)).numbers.tolist() == NUMBERS


def test_number_of_groups():
    assert rrm_core.Groups(NUMBERS).n_groups == 2
    groups = rrm_core.Groups(NUMBERS, n_groups=4)
    assert groups.sizes.tolist() == [2, 3, 0, 0]
    assert repr(groups) == "Groups(n=5, n_groups=4)"
    with pytest.raises(ValueError, match=r"groups must lie in \[0, 1\), but 3 of 5 do not, the first 1 at index 1"):
        rrm_core.Groups(NUMBERS, n_groups=1)
    with pytest.raises(ValueError, match="n_groups must be a whole number, at least 1, or None, got 0"):
        rrm_core.Groups(NUMBERS, n_groups=0)
    with pytest.raises(ValueError, match="groups is empty"):
        rrm_core.Groups([])


@pytest.mark.parametrize("backend", ["cpp", "numba"])
def test_order_is_computed_once(backend):
    groups = rrm_core.Groups(NUMBERS)
    first, _ = rrm_core.reweight(LOSSES, groups=groups, contamination=0.2, backend=backend)
    order = groups.prepared["order"]
    second, _ = rrm_core.reweight(LOSSES, groups=groups, contamination=0.2, backend=backend)
    assert groups.prepared["order"] is order
    assert order.starts.tolist() == [0, 2, 5]
    assert order.positions.tolist() == [0, 2, 3, 1, 4]
    assert first.tolist() == second.tolist()
