from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import Indexed, batches, cross_entropy, predict, score
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
