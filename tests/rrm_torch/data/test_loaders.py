from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from rrm_torch.data.augmentation import FlipCrop, GaussianNoise
from rrm_torch.data.loaders import Indexed, batches

X = torch.arange(40.0).reshape(10, 2, 2)
Y = torch.arange(10) * 10


# Indexed


def test_indexed_items_start_with_their_index():
    dataset = Indexed(TensorDataset(X, Y))
    assert len(dataset) == 10
    index, x, y = dataset[3]
    assert (index, y.item()) == (3, 30)
    assert_array_equal(x, X[3])


@pytest.mark.parametrize("item", [("x",), ("x", 1), ["x", 1, "weight"]], ids=["one", "two", "three"])
def test_items_of_any_length(item):
    assert Indexed([item])[0] == (0, *item)


@pytest.mark.parametrize("index", [-1, 9, np.int64(9), torch.tensor(9)])
def test_negative_and_positive_index_give_the_same_index(index):
    dataset = Indexed(TensorDataset(X, Y))
    assert dataset[index][0] == 9
    assert type(dataset[index][0]) is int
    assert dataset[index][2] == 90


def test_indexed_iteration_ends():
    assert [index for index, *_ in Indexed([("a",), ("b",)])] == [0, 1]


@pytest.mark.parametrize("shuffle", [False, True])
def test_data_loader_yields_the_index(shuffle):
    observed = []
    for index, x, y in DataLoader(Indexed(TensorDataset(X, Y)), batch_size=4, shuffle=shuffle):
        assert index.dtype == torch.int64
        assert_array_equal(x, X[index])
        assert_array_equal(y, Y[index])
        observed += index.tolist()
    assert sorted(observed) == list(range(10))


class Stream(IterableDataset):
    def __iter__(self):
        yield 1, 2


def test_indexed_rejects_iterable_dataset():
    with pytest.raises(TypeError, match=r"dataset must be map-style, with len\(dataset\) .* got Stream"):
        Indexed(Stream())


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (10, IndexError, r"index must lie in \[-10, 10\), got 10"),
        (-11, IndexError, r"index must lie in \[-10, 10\), got -11"),
        (1.0, TypeError, "float"),
    ],
)
def test_indexed_rejects_bad_index(index, error, message):
    with pytest.raises(error, match=message):
        Indexed(TensorDataset(X, Y))[index]


@pytest.mark.parametrize(("item", "kind"), [(torch.zeros(2), "Tensor"), ("xy", "str"), ({"x", "y"}, "set")])
def test_indexed_rejects_items_that_are_not_tuples(item, kind):
    with pytest.raises(
        TypeError, match=rf"dataset must contain tuples such as \(x, y\), or dicts, got {kind} at index 1"
    ):
        Indexed([("x", "y"), item])[1]


# batches


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 64])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_equal_those_of_a_data_loader(batch_size, shuffle):
    loader = batches(X, Y, batch_size, shuffle=shuffle, generator=torch.Generator().manual_seed(3))
    ordinary = DataLoader(
        Indexed(TensorDataset(X, Y)), batch_size, shuffle=shuffle, generator=torch.Generator().manual_seed(3)
    )
    assert len(loader) == len(ordinary) == -(-10 // batch_size)
    assert len(loader.dataset) == 10
    for _ in range(2):  # in every epoch
        for ours, theirs in zip(loader, ordinary, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert a.dtype == b.dtype
                assert_array_equal(a, b)


def order(loader):
    return torch.cat([index for index, _, _ in loader]).tolist()


def test_every_pass_has_a_new_order():
    loader = batches(X, Y, 4, shuffle=True, generator=torch.Generator().manual_seed(0))
    first = order(loader)
    second = order(loader)
    assert first != second
    assert sorted(first) == sorted(second) == list(range(10))


def test_without_shuffling_batches_are_in_index_order():
    assert order(batches(X, Y, 4, shuffle=False)) == list(range(10))


def test_global_seed_determines_the_order_without_generator():
    orders = []
    for _ in range(2):
        torch.manual_seed(5)
        orders.append(order(batches(X, Y, 4, shuffle=True)))
    assert orders[0] == orders[1]


@pytest.mark.parametrize("shuffle", [False, True])
def test_random_numbers_come_only_from_the_generator(shuffle):
    generator = torch.Generator().manual_seed(0)
    own_state = generator.get_state()
    global_state = torch.get_rng_state()
    order(batches(X, Y, 4, shuffle=shuffle, generator=generator))
    assert torch.equal(torch.get_rng_state(), global_state)
    assert torch.equal(generator.get_state(), own_state) is not shuffle


def test_pass_without_shuffling_draws_no_random_number():
    before = torch.get_rng_state()
    order(batches(X, Y, 4, shuffle=False))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("shuffle", [False, True])
def test_transform_maps_each_batch_of_inputs(shuffle):
    shapes = []

    def negative(x):
        shapes.append(tuple(x.shape))
        return -x

    for index, x, y in batches(X, Y, 4, shuffle=shuffle, transform=negative):
        assert_array_equal(x, -X[index])
        assert_array_equal(y, Y[index])
    assert shapes == [(4, 2, 2), (4, 2, 2), (2, 2, 2)]


def test_transform_changes_neither_data_nor_order():
    before = X.clone()
    loaders = [
        batches(X, Y, 4, shuffle=True, generator=torch.Generator().manual_seed(0), transform=transform)
        for transform in (None, GaussianNoise(1.0))
    ]
    for _ in range(2):
        assert order(loaders[0]) == order(loaders[1])
    assert torch.equal(X, before)


def images(seed, transform):
    torch.manual_seed(seed)
    loader = batches(X.view(10, 1, 2, 2), Y, 4, shuffle=False, transform=transform)
    return torch.cat([x for _, x, _ in loader])


def test_transforms_draw_from_the_global_generator():
    assert torch.equal(images(0, FlipCrop(1)), images(0, FlipCrop(1)))
    assert not torch.equal(images(0, FlipCrop(1)), images(1, FlipCrop(1)))


def test_transforms_draw_from_their_own_generator():
    first, second = (images(seed, partial(FlipCrop(1), generator=torch.Generator().manual_seed(7))) for seed in (0, 1))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("x", "y", "batch_size", "message"),
    [
        (X, Y, 0, "batch_size must be at least 1, got 0"),
        (X, Y[:9], 4, r"x and y must have the same length, got shapes \(10, 2, 2\) and \(9,\)"),
        (X, torch.tensor(1), 4, r"x and y must have the same length, got shapes \(10, 2, 2\) and \(\)"),
        (X[:0], Y[:0], 4, "x must contain at least one sample, got an empty tensor"),
    ],
)
def test_batches_rejects_bad_arguments(x, y, batch_size, message):
    with pytest.raises(ValueError, match=message):
        batches(x, y, batch_size, shuffle=False)
