from __future__ import annotations

from collections import UserDict, namedtuple

import pytest
import torch

from rrm_torch.data.batch import split_batch, split_indexed_batch

INDEX, X, Y = torch.arange(3), torch.rand(3, 2), torch.zeros(3).long()
Batch = namedtuple("Batch", ["index", "x", "y"])
ENTRIES = {"ids": X, "mask": X, "sample_index": INDEX}


@pytest.mark.parametrize("batch", [(INDEX, X, Y), [INDEX, X, Y], Batch(INDEX, X, Y)], ids=["tuple", "list", "named"])
def test_batches_with_an_index(batch):
    for split in (split_batch, split_indexed_batch):
        assert all(a is b for a, b in zip(split(batch), (INDEX, X, Y), strict=True))


def test_batch_without_an_index():
    index, x, y = split_batch((X, Y))
    assert (index, x is X, y is Y) == (None, True, True)


@pytest.mark.parametrize("key", ["label", "labels"])
@pytest.mark.parametrize("kind", [dict, UserDict])
def test_batch_in_a_mapping(kind, key):
    batch = kind(ENTRIES | {key: Y})
    index, x, y = split_indexed_batch(batch)
    assert index is INDEX
    assert y is Y
    assert list(x) == ["ids", "mask"]
    assert x["ids"] is X
    assert key in batch  # unchanged
    del batch["sample_index"]
    assert split_batch(batch)[0] is None


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        (X, TypeError, r"loader must yield \(index, x, y\), .* got Tensor"),
        (None, TypeError, r"got NoneType"),
        ((X,), ValueError, "got 1 items"),
        ((INDEX, X, X, Y), ValueError, "got 4 items; put all inputs into x"),
        ((X, Y), ValueError, r"indices.*rrm_torch\.Indexed adds them"),
        ({"x": X, "labels": Y}, ValueError, "the entry sample_index of a dict"),
        (ENTRIES, ValueError, r"one of the keys labels and label, got \['ids', 'mask', 'sample_index'\]"),
        (ENTRIES | {"label": Y, "labels": Y}, ValueError, "one of the keys labels and label"),
        (([0, 1, 2], X, Y), TypeError, r"index must be a tensor of shape \(batch,\), got list"),
        ((INDEX[:, None], X, Y), ValueError, r"index must have shape \(batch,\), got \(3, 1\)"),
        ((INDEX[0], X[0], Y[0]), ValueError, r"index must have shape \(batch,\), got \(\)"),
    ],
)
def test_rejects_other_batches(batch, error, message):
    with pytest.raises(error, match=message):
        split_indexed_batch(batch)
