from __future__ import annotations

import pytest
import torch

from rrm_torch.data.balanced_subset import balanced_subset


def labels_of(sizes, seed=0):
    """Labels of classes with these numbers of samples, in random order."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def draw(labels, n, seed=0):
    return balanced_subset(labels, n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("sizes", "n", "counts"),
    [
        ([50, 50, 50], 30, [10, 10, 10]),
        ([50, 50, 50], 31, [10, 10, 11]),
        ([50, 4, 50], 30, [4, 13, 13]),
        ([3, 50, 7, 50], 41, [3, 7, 15, 16]),
        ([20, 0, 20], 10, [0, 5, 5]),
        ([50, 1], 51, [1, 50]),
        ([5, 5, 5], 2, [0, 1, 1]),
    ],
    ids=str,
)
def test_classes_are_as_equal_as_their_sizes_allow(sizes, n, counts):
    labels = labels_of(sizes)
    index = draw(labels, n)
    assert index.dtype == torch.int64
    assert len(index.unique()) == len(index) == n
    drawn = labels[index].bincount(minlength=len(sizes))
    assert sorted(drawn.tolist()) == counts
    assert all(count <= size for count, size in zip(drawn.tolist(), sizes, strict=True))


def test_same_seed_draws_the_same_subset():
    labels = labels_of([40] * 7)
    assert torch.equal(draw(labels, 100, 5), draw(labels, 100, 5))
    assert not torch.equal(draw(labels, 100, 5), draw(labels, 100, 6))


def test_each_sample_and_each_remainder_is_drawn_equally_often():
    labels = labels_of([6, 6, 6])
    draws = [draw(labels, 10, seed) for seed in range(400)]
    share = torch.cat(draws).bincount(minlength=18) / len(draws)
    assert abs(share - 10 / 18).max() < 0.1
    first = torch.stack([index[0] for index in draws]).bincount(minlength=18) / len(draws)
    assert abs(first - 1 / 18).max() < 0.05  # in random order


@pytest.mark.parametrize(
    ("labels", "n", "error", "message"),
    [
        (torch.zeros(5, dtype=torch.int64), 6, ValueError, r"n must lie in \[1, 5\], the number of samples, got 6"),
        (torch.zeros(5, dtype=torch.int64), 0, ValueError, r"n must lie in \[1, 5\]"),
        (torch.zeros(5), 2, TypeError, "labels must be int64, got torch.float32"),
        (torch.zeros(5, 1, dtype=torch.int64), 2, ValueError, r"labels must have shape \(n_samples,\), got \(5, 1\)"),
        (torch.tensor([0, -1]), 2, ValueError, "labels must be at least 0, got -1"),
    ],
)
def test_invalid_arguments_raise(labels, n, error, message):
    with pytest.raises(error, match=message):
        balanced_subset(labels, n)
