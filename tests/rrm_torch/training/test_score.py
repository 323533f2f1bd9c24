from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, Subset, TensorDataset

from rrm_torch import RRM, Indexed, batches, cross_entropy, predict, score
from support.clouds import three_clouds

N = 40
K = 3


@pytest.fixture
def blobs():
    return three_clouds(N)


def linear():
    torch.manual_seed(0)
    return nn.Linear(2, K)


def test_score_is_in_index_order(blobs):
    x, y = blobs
    model = linear()
    expected = cross_entropy(model(x), y).detach()
    shuffled = batches(x, y, 7, shuffle=True, generator=torch.Generator().manual_seed(3))
    ordinary = DataLoader(Indexed(TensorDataset(x, y)), batch_size=7, shuffle=True)
    for loader in (shuffled, ordinary):
        assert_close(score(model, loader), expected)


@pytest.mark.parametrize("among", [torch.tensor([31, 4, 9, 0, 22]), torch.arange(N) % 7 == 2], ids=["index", "mask"])
def test_score_of_some_samples_goes_into_step(blobs, among):
    x, y = blobs
    model = linear()
    expected = cross_entropy(model(x), y).detach()[among]
    visited = torch.arange(N)[among]
    data = Subset(Indexed(TensorDataset(x, y)), visited.tolist())
    losses = score(model, DataLoader(data, batch_size=2, shuffle=True), among=among)
    assert_close(losses, expected)
    rrm = RRM(N, contamination=0.4, warmup=1)
    rrm.step(losses, among=among)
    assert_close(rrm.losses[among], expected)
    assert rrm.plan.n == len(visited)


@pytest.mark.parametrize(
    ("index", "among", "message"),
    [
        (
            [5, 7],
            torch.tensor([5, 9, 7]),
            "each of the 3 samples in among once, .* 1 are missing, 0 repeated and 0 n",
        ),
        ([5, 7, 9, 7], torch.tensor([5, 9, 7]), "0 are missing, 1 repeated and 0 not in among"),
        ([5, 8, 9, 7], torch.tensor([5, 9, 7]), "0 are missing, 0 repeated and 1 not in among"),
        ([5, 8, 9, 12], torch.tensor([5, 9, 7]), "1 are missing, 0 repeated and 2 not in among"),
        ([0, 1], torch.tensor([True, True, True, False]), "1 are missing"),
        ([0, 1], torch.zeros(9) > 0, "each of the 0 samples in among once, .* 2 not in among"),
        ([0, 1, 2], torch.tensor([0, 1, 1, 2]), "among must name each sample once, got index 1 more than once"),
        ([0, 1], torch.zeros(2, 2) > 0, "among must be one-dimensional"),
    ],
)
def test_score_rejects_other_samples_than_those_named(blobs, index, among, message):
    x, y = blobs
    with pytest.raises(ValueError, match=message):
        score(linear(), [(torch.tensor(index), x[: len(index)], y[: len(index)])], among=among)
    with pytest.raises(TypeError, match="among must be a tensor of indices"):
        score(linear(), [], among=[1, 2])


def test_predict_returns_probabilities(blobs):
    x, y = blobs
    model = linear()
    assert_close(predict(model, batches(x, y, 7, shuffle=True)), model(x).softmax(1).detach())


def test_score_neither_trains_nor_changes_modes(blobs):
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, K))
    model.train()
    model[1].eval()  # frozen, as in fine-tuning
    before = [p.clone() for p in (*model.parameters(), *model.buffers())]
    first, second = (score(model, batches(*blobs, 16, shuffle=False)) for _ in range(2))
    assert_close(first, second, rtol=0, atol=0)
    assert [m.training for m in model] == [True, False, True, True]
    assert model.training
    for p, q in zip((*model.parameters(), *model.buffers()), before, strict=True):
        assert_close(p, q, rtol=0, atol=0)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 1, 1, 3], "its 4 samples once, as index 0 to 3: 1 are missing and 1 repeated"),
        ([0, 1, 2, 9], "1 are missing and 0 repeated"),
        ([0, 1, 2, -1], "1 are missing and 0 repeated"),
    ],
)
def test_score_rejects_missing_and_repeated_indices(blobs, index, message):
    x, y = blobs
    with pytest.raises(ValueError, match=message):
        score(linear(), [(torch.tensor(index), x[:4], y[:4])])


def test_score_rejects_reduced_loss(blobs):
    with pytest.raises(ValueError, match="loss must return one value per sample"):
        score(linear(), batches(*blobs, 16, shuffle=False), nn.functional.cross_entropy)
