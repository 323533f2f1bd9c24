from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.draws import Draws
from rrm_torch.methods.training_set import TrainingSet, check_views, endless_batches

N = 10
X = torch.arange(N, dtype=torch.uint8)[:, None]
Y = torch.arange(N) % 3


def test_batches_can_be_iterated_over_again():
    loader = TrainingSet(X, Y, 3).batches(4)
    assert len(loader) == len(list(loader)) == len(list(loader))


def test_batches_of_a_scoring_pass_are_prepared_and_in_order():
    data = TrainingSet(X, Y, 3, weak=lambda x, generator: x / 0, prepare=lambda x: x.float() / 2)
    index, x, y = (torch.cat(parts) for parts in zip(*data.batches(4), strict=True))
    assert index.tolist() == list(range(N))
    assert torch.equal(x[:, 0], torch.arange(N) / 2)
    assert torch.equal(y, Y)


def test_batches_of_some_samples_carry_their_index():
    [(index, x, y)] = TrainingSet(X, Y, 3).batches(4, torch.tensor([7, 2]))
    assert (index.tolist(), x[:, 0].tolist(), y.tolist()) == ([7, 2], [7, 2], [1, 2])


def test_views_are_prepared_without_an_augmentation():
    data = TrainingSet(X, Y, 3, prepare=lambda x: x.float() / 2)
    assert torch.equal(data.weak_view(X, Draws(0)), X / 2)


def test_augmentations_draw_from_the_generator():
    def noise(x, generator):
        return torch.rand(len(x), generator=generator)

    data = TrainingSet(X, Y, 3, weak=noise, strong=noise)
    draws = data.draws(0)
    views = [data.weak_view(X, draws), data.weak_view(X, draws), data.strong_view(X, draws)]
    assert not torch.equal(views[0], views[1])
    again = data.draws(0)
    assert torch.equal(torch.stack(views), torch.stack([data.weak_view(X, again) for _ in range(3)]))


def test_strong_view_without_an_augmentation_is_refused():
    with pytest.raises(ValueError, match="strong augmentation, got none; pass strong="):
        TrainingSet(X, Y, 3).strong_view(X, Draws(0))


@pytest.mark.parametrize(("n", "sizes"), [(9, [4, 5]), (8, [4, 4]), (7, [4, 3]), (1, [1]), (5, [5])])
def test_no_batch_of_a_pass_has_a_single_sample(n, sizes):
    index = torch.arange(20)[:n]
    parts = TrainingSet(torch.zeros(20, 1), torch.zeros(20, dtype=torch.int64), 1).shuffled(index, 4, Draws(0))
    assert [len(part) for part in parts] == sizes
    assert torch.cat(parts).sort().values.tolist() == index.tolist()


class Reader:
    """Inputs that are read when they are needed."""

    def __len__(self):
        return N

    def __getitem__(self, index):
        return X[index].float() + 0.5


def test_inputs_may_be_read_when_they_are_needed():
    data = TrainingSet(Reader(), Y, 3)
    assert data.device == torch.device("cpu")
    x = torch.cat([x for _, x, _ in data.batches(4)])
    assert torch.equal(x[:, 0], torch.arange(N) + 0.5)


def test_labels_are_moved_to_the_device_of_the_inputs():
    data = TrainingSet(torch.empty(N, 1, device="meta"), Y, 3)
    assert data.labels.device == data.device == torch.device("meta")
    assert Y.device == torch.device("cpu")


@pytest.mark.parametrize("index", [None, torch.tensor([1, 4, 5, 8])])
def test_weak_batches_are_views_of_shuffled_samples(index):
    data = TrainingSet(X, Y, 3, weak=lambda x, generator: x + torch.rand(1, generator=generator))
    some = torch.arange(N) if index is None else index
    draws = Draws(5)
    expected = [(part, data.weak_view(X[part], draws), Y[part]) for part in data.shuffled(some, 4, draws)]
    batches = list(data.weak_batches(4, Draws(5), torch.device("cpu"), index))
    assert_close(batches, expected, rtol=0, atol=0)


def test_weak_batches_are_on_the_device_of_a_model():
    [(index, x, y)] = TrainingSet(X, Y, 3).weak_batches(N, Draws(0), torch.device("meta"))
    assert [index.device.type, x.device.type, y.device.type] == ["cpu", "meta", "meta"]


def test_endless_batches_visit_each_sample_once_a_pass_in_a_new_order():
    data = TrainingSet(X, Y, 3)
    parts = list(islice(endless_batches(data, torch.arange(8), 4, Draws(0)), 4))
    passes = [torch.cat(parts[:2]), torch.cat(parts[2:])]
    assert all(visited.sort().values.tolist() == list(range(8)) for visited in passes)
    assert not torch.equal(*passes)


def test_endless_batches_of_no_sample_are_refused():
    with pytest.raises(ValueError, match="index must name at least one sample"):
        next(endless_batches(TrainingSet(X, Y, 3), torch.empty(0, dtype=torch.int64), 4, Draws(0)))


def test_endless_batches_repeat_a_single_sample():
    # Batch norm can't be trained on one row.
    batch = next(endless_batches(TrainingSet(X, Y, 3), torch.tensor([6]), 4, Draws(0)))
    assert batch.tolist() == [6, 6]


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"labels": Y.int()}, TypeError, "labels must be a tensor of int64, shape \\(n,\\), got torch.int32"),
        ({"labels": Y[:, None]}, TypeError, "labels must be a tensor of int64, shape \\(n,\\), got torch.int64 \\(10"),
        ({"labels": Y.tolist()}, TypeError, "labels must be .*, got list"),
        ({"labels": Y.float()}, TypeError, r"got torch.float32 \(10,\); torch.as_tensor\(labels\).long\(\) converts"),
        ({"labels": Y[:, None]}, TypeError, r"; labels in a column are labels\[:, 0\]"),
        ({"labels": torch.eye(10, 3).long()}, TypeError, r"; labels.argmax\(1\) converts one-hot rows"),
        ({"inputs": X.numpy()}, TypeError, r"inputs must be a tensor, .*, got ndarray; torch.as_tensor\(inputs\)"),
        ({"inputs": X.tolist()}, TypeError, "inputs must be a tensor, .*, got list"),
        ({"weak": "flip"}, TypeError, "weak must be callable or None, got str"),
        ({"strong": 3}, TypeError, "strong must be callable or None, got int"),
        ({"labels": Y[:-1]}, ValueError, "same length, got 10 and 9"),
        ({"labels": Y - 1}, ValueError, "labels must lie in \\[0, 3\\), got -1 for sample 0"),
        ({"n_classes": 2}, ValueError, "labels must lie in \\[0, 2\\), got 2 for sample 2"),
        ({"inputs": X[:1], "labels": Y[:1]}, ValueError, "at least two samples, got 1"),
    ],
)
def test_wrong_arguments_are_refused(changes, kind, message):
    with pytest.raises(kind, match=message):
        TrainingSet(**{"inputs": X, "labels": Y, "n_classes": 3, **changes})


class Pairs(Reader):
    """Inputs whose batches are pairs of a tensor and labels, like those of a Dataset."""

    def __getitem__(self, index):
        return super().__getitem__(index), Y[index]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": Pairs()}, r"inputs\[index\] must return a tensor with a row for each sample, got tuple"),
        ({"weak": lambda x, generator: None}, "weak must return a tensor with a row for each sample, got NoneType"),
        ({"prepare": lambda x: x[0].float()}, r"prepare must return .*, got shape \(1,\) for two samples"),
        (
            {"prepare": lambda x: x.float(), "weak": lambda x, generator: x},
            "got prepare torch.float32, weak torch.uint8",
        ),
        ({"strong": lambda x, generator: x.float()}, "prepare torch.uint8, strong torch.float32; end all of them with"),
    ],
)
def test_transforms_of_the_wrong_kind_are_refused_before_training(changes, message):
    with pytest.raises(TypeError, match=message):
        check_views(TrainingSet(**{"inputs": X, "labels": Y, "n_classes": 3, **changes}))


def test_the_check_of_transforms_leaves_the_inputs_as_they_are():
    inputs = torch.ones(N, 1)
    check_views(TrainingSet(inputs, Y, 3, weak=lambda x, generator: x.mul_(2), prepare=lambda x: x.mul_(3)))
    assert torch.equal(inputs, torch.ones(N, 1))
