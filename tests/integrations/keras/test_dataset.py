"""RRMDataset: batches, their order and their weights."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from rrm_keras import RRMDataset
from support.keras_runs import Batches

X = np.arange(20, dtype=np.float32).reshape(10, 2)
Y = np.arange(10)


def rows_of(data):
    return np.concatenate([data[k][1] for k in range(len(data))])


def test_an_epoch_has_each_sample_once_in_an_order_of_seed_and_epoch():
    data = RRMDataset(X, Y, batch_size=4, seed=3)
    first = rows_of(data)
    assert sorted(first) == list(range(10))
    data.epoch = 1
    second = rows_of(data)
    assert sorted(second) == list(range(10))
    assert not np.array_equal(first, second)
    data.epoch = 0
    np.testing.assert_array_equal(rows_of(data), first)
    np.testing.assert_array_equal(rows_of(RRMDataset(X, Y, batch_size=4, seed=3)), first)
    assert not np.array_equal(rows_of(RRMDataset(X, Y, batch_size=4, seed=4)), first)


def test_without_shuffle_samples_keep_their_order():
    np.testing.assert_array_equal(rows_of(RRMDataset(X, Y, batch_size=4, shuffle=False)), Y)


def test_a_batch_has_the_inputs_and_weights_of_its_samples():
    data = RRMDataset({"a": X, "b": [X]}, Y, batch_size=4, sample_weight=Y)
    data.weights = np.arange(10, dtype=np.float32) / 2
    assert len(data) == 3
    x, y, weights = data[2]
    assert len(y) == 2
    np.testing.assert_array_equal(x["a"], X[y])
    np.testing.assert_array_equal(x["b"][0], X[y])
    np.testing.assert_array_equal(weights, (y / 2 * y).astype(np.float32))
    assert weights.dtype == np.float32


def test_batches_of_a_dataset_are_shuffled_as_wholes():
    data = RRMDataset(Batches(X, Y, 4), seed=1)
    assert (data.n, len(data)) == (10, 3)
    data.weights = np.arange(10, dtype=np.float32)
    batches = [data[k] for k in range(3)]
    assert sorted(tuple(y) for _, y, _ in batches) == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    for _, y, weights in batches:
        np.testing.assert_array_equal(weights, y)


def test_a_copy_in_another_process_has_the_same_batches():
    data = RRMDataset(X, Y, batch_size=4)
    data.epoch = 2
    data.weights = np.arange(10, dtype=np.float32)
    expected = data[1]
    for part, other in zip(pickle.loads(pickle.dumps(data))[1], expected, strict=True):
        np.testing.assert_array_equal(part, other)


def test_options_of_a_dataset_are_kept():
    data = RRMDataset(Batches(X, Y, workers=3), max_queue_size=2)
    assert (data.workers, data.max_queue_size) == (3, 2)


class Uneven(Batches):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return (x, y) if index != 1 else (x[:1], y[:1])


class Alone(Batches):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, Y[:9]), "x and y must have one length, got 10 for x and 9 for y"),
        ((X[:0], Y[:0]), "at least one sample, got none"),
        ((X, Y, 0), "batch_size must be a whole number, at least 1, got 0"),
        ((X, Y, 2, True, -1), "seed must be a whole number, at least 0, got -1"),
        ((Batches(X, Y), Y), "y must be left out if x is a PyDataset"),
    ],
)
def test_invalid_arguments_raise_value_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        RRMDataset(*arguments)


def test_inputs_without_targets_raise_type_error():
    with pytest.raises(TypeError, match=r"give y, the targets, .* got ndarray alone"):
        RRMDataset(X)
    with pytest.raises(TypeError, match=r"a batch of x must be \(x, y\)"):
        RRMDataset(Alone(X, Y))
    with pytest.raises(TypeError, match="y must be arrays with an axis of samples, got 3"):
        RRMDataset(X, 3)


def test_invalid_sample_weights_raise():
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(10,\), .* got \(9,\)"):
        RRMDataset(X, Y, sample_weight=Y[:9])


def test_a_batch_of_another_length_raises():
    data = RRMDataset(Uneven(X, Y, 4), shuffle=False)
    with pytest.raises(ValueError, match=r"batch 1 of x must have 4 samples, .* got 1"):
        data[1]


def test_an_index_out_of_range_raises():
    data = RRMDataset(X, Y, batch_size=4)
    with pytest.raises(IndexError, match=r"index must lie in \[0, 3\), got 3"):
        data[3]
    assert len(list(data)) == 3
