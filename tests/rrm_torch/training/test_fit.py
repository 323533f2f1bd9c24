from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import RRM, Indexed, batches, cross_entropy, evaluate, fit, predict, score

N, K = 40, 3


@pytest.fixture
def blobs():
    """Three well separated clouds in the plane, and their labels."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(N) % K
    centres = torch.tensor([[0.0, 4.0], [4.0, -4.0], [-4.0, -4.0]])
    return centres[y] + torch.randn(N, 2, generator=generator), y


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(2, K)


def train(x, y, *, rrm=None, **options):
    model = linear()
    loader = batches(x, y, 8, shuffle=True, generator=torch.Generator().manual_seed(0))
    seconds = fit(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), 5, rrm=rrm, **options)
    return model, seconds


def test_fit_learns(blobs):
    model, seconds = train(*blobs)
    assert evaluate(model, batches(*blobs, 16, shuffle=False)) == 1.0
    assert seconds.training > 0
    assert seconds.scoring == seconds.reweighting == 0


def test_fit_is_the_loop_one_would_write(blobs):
    x, y = blobs
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = batches(x, y, 8, shuffle=True, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        for _, a, b in loader:
            nn.functional.cross_entropy(model(a), b).backward()
            optimizer.step()
            optimizer.zero_grad()
    fitted, _ = train(x, y)
    assert_close(fitted.weight, model.weight, rtol=0, atol=0)


def test_weights_of_one_change_nothing(blobs):
    plain, _ = train(*blobs)
    weighted, _ = train(*blobs, rrm=RRM(N, contamination=0.3, warmup=9))
    assert_close(weighted.weight, plain.weight)


@pytest.mark.parametrize("own_pass", [False, True])
def test_fit_finds_a_wrong_label(blobs, own_pass):
    x, y = blobs
    y = y.clone()
    y[7] = (y[7] + 1) % K
    rrm = RRM(N, contamination=1 / N, warmup=2)
    _, seconds = train(x, y, rrm=rrm, score_loader=batches(x, y, 16, shuffle=False) if own_pass else None)
    assert rrm.epoch == 5
    assert rrm.flagged().tolist() == [7]
    assert rrm.weights[7] == 0
    assert (seconds.scoring > 0) == own_pass
    assert seconds.reweighting > 0


def test_a_pass_scores_the_finished_epoch_and_only_when_due(blobs):
    class Counted:
        passes = 0

        def __iter__(self):
            self.passes += 1
            return iter(batches(*blobs, 16, shuffle=False))

    loader, rrm = Counted(), RRM(N, contamination=0.1, warmup=3, every=2)
    model, _ = train(*blobs, rrm=rrm, score_loader=loader)
    assert loader.passes == 2  # after epochs 3 and 5
    assert_close(rrm.losses, score(model, batches(*blobs, 16, shuffle=False)))


def test_a_pass_leaves_the_order_of_training_alone(blobs):
    plain, _ = train(*blobs)
    weighted, _ = train(
        *blobs, rrm=RRM(N, gamma=1e9, warmup=1), score_loader=batches(*blobs, 16, shuffle=False)
    )  # every weight stays 1
    assert_close(weighted.weight, plain.weight)


def test_fit_puts_the_model_in_training_mode(blobs):
    x, y = blobs
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, K)).eval()
    fit(model, batches(x, y, 8, shuffle=False), torch.optim.SGD(model.parameters(), lr=0.1), 1)
    assert model.training
    assert model[0].num_batches_tracked == 5


def test_seconds_are_those_of_the_clock(blobs, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("rrm_torch.training.fit.time.perf_counter", lambda: next(ticks))
    rrm = RRM(N, contamination=0.1, warmup=1)
    _, seconds = train(*blobs, rrm=rrm, score_loader=batches(*blobs, 16, shuffle=False))
    assert (seconds.training, seconds.scoring, seconds.reweighting) == (5, 5, 5)


def test_on_epoch_gets_the_mean_unweighted_loss(blobs):
    seen = []
    rrm = RRM(N, contamination=0.1, warmup=1)
    train(*blobs, rrm=rrm, on_epoch=lambda epoch, loss: seen.append((epoch, loss)))
    assert [epoch for epoch, _ in seen] == [1, 2, 3, 4, 5]
    assert seen[-1][1] == pytest.approx(rrm.losses.mean().item(), rel=1e-5)


def test_any_loss_will_do(blobs):
    def brier(logits, y):
        return ((logits.softmax(1) - nn.functional.one_hot(y, K)) ** 2).sum(1)

    rrm = RRM(N, contamination=0.1, warmup=1)
    model, _ = train(*blobs, rrm=rrm, loss=brier, score_loader=batches(*blobs, 16, shuffle=False))
    losses = score(model, batches(*blobs, 16, shuffle=False), brier)
    assert_close(rrm.losses, losses)
    assert losses.max() <= 2


@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_that_is_already_a_mean_is_refused(blobs, weighted):
    rrm = RRM(N, contamination=0.1) if weighted else None
    with pytest.raises(ValueError, match=r"loss must return one value per sample.*reduction='none'"):
        train(*blobs, rrm=rrm, loss=nn.functional.cross_entropy)


def test_score_is_in_the_order_of_the_index(blobs):
    x, y = blobs
    model = linear()
    expected = cross_entropy(model(x), y).detach()
    shuffled = batches(x, y, 7, shuffle=True, generator=torch.Generator().manual_seed(3))
    ordinary = DataLoader(Indexed(TensorDataset(x, y)), batch_size=7, shuffle=True)
    for loader in (shuffled, ordinary):
        assert_close(score(model, loader), expected)


def test_predict_gives_probabilities(blobs):
    x, y = blobs
    model = linear()
    assert_close(predict(model, batches(x, y, 7, shuffle=True)), model(x).softmax(1).detach())


def test_evaluate_counts_right_predictions(blobs):
    _, y = blobs
    model = nn.Identity()
    logits = nn.functional.one_hot(y, K).float()
    logits[:10] = logits[:10].roll(1, dims=1)
    assert evaluate(model, batches(logits, y, 7, shuffle=False)) == 0.75
    assert evaluate(model, DataLoader(TensorDataset(logits, y), batch_size=7)) == 0.75  # a test set has no index


def test_a_pass_neither_trains_nor_changes_modes(blobs):
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
def test_a_pass_must_see_each_sample_once(blobs, index, message):
    x, y = blobs
    with pytest.raises(ValueError, match=message):
        score(linear(), [(torch.tensor(index), x[:4], y[:4])])


@pytest.mark.parametrize(
    "call",
    [
        lambda model: score(model, []),
        lambda model: evaluate(model, []),
        lambda model: fit(model, [], torch.optim.SGD(model.parameters(), lr=0.1), 1),
    ],
    ids=["score", "evaluate", "fit"],
)
def test_an_empty_loader(call):
    with pytest.raises(ValueError, match="loader yields no batch"):
        call(linear())
