from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch import RRM, batches, evaluate, fit, score
from support.clouds import three_clouds

N = 40
K = 3


@pytest.fixture
def blobs():
    return three_clouds(N)


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


def test_fit_equals_a_plain_training_loop(blobs):
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


def test_weights_of_one_equal_plain_training(blobs):
    plain, _ = train(*blobs)
    weighted, _ = train(*blobs, rrm=RRM(N, contamination=0.3, warmup=9, epochs=99))
    assert_close(weighted.weight, plain.weight)


@pytest.mark.parametrize("own_pass", [False, True])
def test_fit_flags_a_wrong_label(blobs, own_pass):
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


def test_scoring_pass_runs_only_when_a_reweight_is_due(blobs):
    class Counted:
        passes = 0

        def __iter__(self):
            self.passes += 1
            return iter(batches(*blobs, 16, shuffle=False))

    loader = Counted()
    rrm = RRM(N, contamination=0.1, warmup=3, every=2)
    model, _ = train(*blobs, rrm=rrm, score_loader=loader)
    assert loader.passes == 2  # after epochs 3 and 5
    assert_close(rrm.losses, score(model, batches(*blobs, 16, shuffle=False)))


def test_scoring_pass_does_not_change_the_sample_order(blobs):
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


def test_seconds_by_activity(blobs, monkeypatch):
    ticks = iter(range(100))
    monkeypatch.setattr("rrm_torch.training.fit.time.perf_counter", lambda: next(ticks))
    rrm = RRM(N, contamination=0.1, warmup=1)
    _, seconds = train(*blobs, rrm=rrm, score_loader=batches(*blobs, 16, shuffle=False))
    assert (seconds.training, seconds.scoring, seconds.reweighting) == (5, 5, 5)


def test_on_epoch_gets_the_mean_unweighted_loss(blobs):
    observed = []
    rrm = RRM(N, contamination=0.1, warmup=1)
    train(*blobs, rrm=rrm, on_epoch=lambda epoch, loss: observed.append((epoch, loss)))
    assert [epoch for epoch, _ in observed] == [1, 2, 3, 4, 5]
    assert observed[-1][1] == pytest.approx(rrm.losses.mean().item(), rel=1e-5)


def test_custom_loss(blobs):
    def brier(logits, y):
        return ((logits.softmax(1) - nn.functional.one_hot(y, K)) ** 2).sum(1)

    rrm = RRM(N, contamination=0.1, warmup=1)
    model, _ = train(*blobs, rrm=rrm, loss=brier, score_loader=batches(*blobs, 16, shuffle=False))
    losses = score(model, batches(*blobs, 16, shuffle=False), brier)
    assert_close(rrm.losses, losses)
    assert losses.max() <= 2


@pytest.mark.parametrize("weighted", [False, True])
def test_fit_rejects_reduced_loss(blobs, weighted):
    rrm = RRM(N, contamination=0.1, epochs=99) if weighted else None
    with pytest.raises(ValueError, match=r"loss must return one value per sample.*reduction='none'"):
        train(*blobs, rrm=rrm, loss=nn.functional.cross_entropy)


@pytest.mark.parametrize(
    "call",
    [
        lambda model: score(model, []),
        lambda model: evaluate(model, []),
        lambda model: fit(model, [], torch.optim.SGD(model.parameters(), lr=0.1), 1),
    ],
    ids=["score", "evaluate", "fit"],
)
def test_rejects_empty_loader(call):
    with pytest.raises(ValueError, match="loader yields no batch"):
        call(linear())


def test_interrupted_epoch_begins_again():
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    rrm = RRM(8, contamination=0.25, warmup=1, epochs=99)
    loader = batches(x, y, 4, shuffle=False)

    def interrupted():
        yield next(iter(loader))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, interrupted(), optimizer, 1, rrm=rrm)
    fit(model, loader, optimizer, 1, rrm=rrm)
    assert rrm.plan.n == 8
