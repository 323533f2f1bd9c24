from __future__ import annotations

from functools import partial
from types import MappingProxyType

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, Subset, TensorDataset

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


def rows(item):
    """Return the index, x and y of an item or a batch of dicts or tuples."""
    if isinstance(item, dict):
        return item["sample_index"], item["x"], item["label"]
    return item


class Table:
    """A data set of dicts, which returns a dict of lists for a list of indices, as Hugging Face's do."""

    def __init__(self, extra=None, getitems=False):
        self.extra = extra or {}
        self.asked = []
        if getitems:
            self.__getitems__ = self.several

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.asked.append(index)
        if isinstance(index, list):
            return {"x": X[index].tolist(), "label": Y[index].tolist()}
        return {"x": X[index], "label": int(Y[index]), **self.extra}

    def several(self, indices):
        self.asked.append(indices)
        return [{"x": X[index], "label": int(Y[index])} for index in indices]


def test_index_is_added_to_items_that_are_dicts():
    index, x, y = rows(Indexed(Table())[-7])
    assert (index, y) == (3, 30)
    assert_array_equal(x, X[3])


def test_mapping_that_is_not_a_dict():
    assert Indexed([MappingProxyType({"x": 1})])[0] == {"x": 1, "sample_index": 0}


@pytest.mark.parametrize("present", [3, np.int64(3), torch.tensor(3)])
def test_item_with_the_same_index_is_accepted(present):
    assert Indexed(Table({"sample_index": present}))[3]["sample_index"] == 3


@pytest.mark.parametrize("present", [4, "three", None, torch.tensor([3, 3])])
def test_item_with_another_index_is_rejected(present):
    with pytest.raises(ValueError, match=r"dataset must not use the key 'sample_index', got .* at index 3; rename it"):
        Indexed(Table({"sample_index": present}))[3]


DATASETS = {
    "tuples": lambda: TensorDataset(X, Y),
    "subset": lambda: Subset(TensorDataset(X, Y), range(10)),
    "dicts": Table,
    "dicts, several": lambda: Table(getitems=True),
    "subset of dicts": lambda: Subset(Table(getitems=True), range(10)),
}


@pytest.mark.parametrize("make", DATASETS.values(), ids=DATASETS)
def test_data_loader_collates_the_index(make):
    seen = []
    for batch in DataLoader(Indexed(make()), 4, shuffle=True):
        index, x, y = rows(batch)
        assert index.dtype == torch.int64
        assert_array_equal(torch.as_tensor(x), X[index])
        assert_array_equal(y, Y[index])
        seen += index.tolist()
    assert sorted(seen) == list(range(10))


def test_data_loader_fetches_several_items_at_once():
    table = Table(getitems=True)
    assert len(list(DataLoader(Indexed(table), 5))) == 2
    assert table.asked == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]


@pytest.mark.parametrize("indices", [[3, -1, 3], (3, 9, 3), np.array([3, -1, 3]), torch.tensor([3, 9, 3]), []])
@pytest.mark.parametrize("make", [DATASETS["tuples"], Table])
def test_indexed_takes_whole_batches(make, indices):
    index, x, y = rows(Indexed(make())[indices])
    expected = [3, 9, 3] if len(indices) else []
    assert index.dtype == torch.int64
    assert index.tolist() == expected
    assert_array_equal(torch.as_tensor(x).reshape(-1, 2, 2), X[expected])
    assert_array_equal(y, Y[expected])


@pytest.mark.parametrize("indices", [[3], torch.tensor([3]), np.array([3])])
def test_batch_of_one_is_a_batch(indices):
    index, x, _ = Indexed(TensorDataset(X, Y))[indices]
    assert index.tolist() == [3]
    assert x.shape == (1, 2, 2)


def test_batch_sampler_without_collation():
    data = Indexed(TensorDataset(X, Y))
    sampler = BatchSampler(RandomSampler(data), 4, drop_last=False)
    seen = []
    for index, x, y in DataLoader(data, batch_size=None, sampler=sampler):
        assert_array_equal(x, X[index])
        assert_array_equal(y, Y[index])
        seen += index.tolist()
    assert sorted(seen) == list(range(10))


class Answer:
    """A data set with the same answer to any list of indices."""

    def __init__(self, answer):
        self.answer = answer

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return self.answer

    def __getitems__(self, indices):
        return self.answer


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([0, 10], IndexError, r"index must lie in \[-10, 10\), got 10"),
        (torch.tensor([-11, 0]), IndexError, r"got -11"),
        ([0.5, 1], TypeError, "float"),
        (torch.tensor([0.5, 1]), TypeError, "float"),
        (np.ones(10, dtype=bool), TypeError, r"index must be an integer, got True; convert a mask with \.nonzero\(\)"),
        (torch.ones(10).bool(), TypeError, "got True"),
        (torch.zeros(2, 2).long(), TypeError, "list"),
        ("01", TypeError, "str"),
        (slice(3), TypeError, "slice"),
        (None, TypeError, "NoneType"),
        (True, TypeError, "got True"),
    ],
)
def test_indexed_rejects_other_indices(indices, error, message):
    with pytest.raises(error, match=message):
        Indexed(TensorDataset(X, Y))[indices]


def test_dataset_that_takes_no_lists_is_an_error_with_a_remedy():
    with pytest.raises(TypeError, match=r"must take a list of indices, .* from list: .*Indexed one by one.*batches"):
        Indexed([("x", 1), ("y", 2)])[[0, 1]]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((X[:3], Y[:3]), ValueError, "as many samples as it is asked for, 2, got 3"),
        ((X[:2], Y[:1]), ValueError, "as many samples as it is asked for, 2, got 1"),
        ({"x": X[:1].numpy()}, ValueError, "as many samples as it is asked for, 2, got 1"),
        ([("x", 0), ("y", 1)], TypeError, "got a list of items; return them from __getitems__"),
        ("xy", TypeError, r"must contain tuples such as \(x, y\), or dicts, got str"),
        (X[:2], TypeError, r"must contain tuples such as \(x, y\), or dicts, got Tensor"),
        (Y[:3], TypeError, r"must contain tuples such as \(x, y\), or dicts, got Tensor"),
        (None, TypeError, r"must contain tuples such as \(x, y\), or dicts, got NoneType"),
    ],
)
def test_rejects_answers_that_are_not_a_batch(answer, error, message):
    with pytest.raises(error, match=message):
        Indexed(Answer(answer))[[0, 1]]


def test_batch_may_hold_a_number_for_all_samples():
    batch = Indexed(Answer({"x": X[:2], "scale": torch.tensor(3.0)}))[[0, 1]]
    assert batch["scale"] == 3
    assert batch["sample_index"].tolist() == [0, 1]


def test_rejects_too_few_items():
    with pytest.raises(ValueError, match="as many samples as it is asked for, 2, got 1"):
        next(iter(DataLoader(Indexed(Answer([("x", 1)])), 2)))


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
