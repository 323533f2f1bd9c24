"""Cross-entropy training with RRM's weights, of all samples and of a draw in each epoch."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from experiments.recipes.weighted_training import WeightedTraining
from rrm_torch import RRM
from rrm_torch.methods import TrainingSet

N = 60
SGD = partial(torch.optim.SGD, lr=0.5)


def clouds():
    """Return two classes that a line separates, with every fifth label wrong."""
    true = torch.arange(N) % 2
    x = torch.randn(N, 2, generator=torch.Generator().manual_seed(0)) * 0.3 + 4.0 * true[:, None] - 2
    wrong = torch.arange(N) % 5 == 0
    return TrainingSet(x, torch.where(wrong, 1 - true, true), 2), wrong


def make(data, rrm=None, **options):
    torch.manual_seed(0)
    settings = {"optimizer": SGD, "batch_size": 10} | options
    return WeightedTraining(nn.Linear(2, 2), data, rrm=rrm, **settings)


def make_rrm(data, **options):
    return RRM(len(data), ids=data.labels, losses_from="pass", **options)


def test_plain_training_equals_a_loop_by_hand():
    data, _ = clouds()
    method = make(data)
    history = method.fit(2)
    torch.manual_seed(0)
    model = nn.Linear(2, 2)
    optimizer = SGD(model.parameters())
    for epoch in (1, 2):
        losses = []
        for part in data.shuffled(torch.arange(N), 10, data.draws(0, epoch)):
            batch = F.cross_entropy(model(data.inputs[part]), data.labels[part], reduction="none")
            optimizer.zero_grad()
            batch.mean().backward()
            optimizer.step()
            losses.append(batch.detach())
        assert history[epoch - 1]["loss"] == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)
    torch.testing.assert_close(method.model.weight, model.weight)


def test_rrm_prunes_the_wrong_labels_after_its_warmup():
    data, wrong = clouds()
    method = make(data, make_rrm(data, contamination=0.2, warmup=3))
    history = method.fit(5)
    assert [row["pruned"] for row in history] == [0, 0, 12, 12, 12]
    assert method.rrm.trajectory.last.tolist() == wrong.tolist()
    assert torch.equal(method.rrm.weights == 0, wrong)


def test_each_loss_is_multiplied_by_the_weight_of_its_sample():
    data, _ = clouds()
    method = make(data, make_rrm(data, contamination=0.2, warmup=1))
    method.fit(1)
    weights = method.rrm.weights.clone()
    model = copy.deepcopy(method.model)
    method.fit(2)
    optimizer = SGD(model.parameters())
    for part in data.shuffled(torch.arange(N), 10, data.draws(0, 2)):
        losses = F.cross_entropy(model(data.inputs[part]), data.labels[part], reduction="none")
        optimizer.zero_grad()
        (weights[part] * losses).mean().backward()
        optimizer.step()
    assert sorted(weights.unique().tolist()) == [0.0, 1.25]
    torch.testing.assert_close(method.model.weight, model.weight)


def test_reweighting_uses_the_losses_of_a_pass_after_the_epoch():
    data, _ = clouds()
    method = make(data, make_rrm(data, contamination=0.2, warmup=1))
    method.fit(1)
    losses = F.cross_entropy(method.model(data.inputs), data.labels, reduction="none")
    assert set(method.rrm.trajectory.last.nonzero()[:, 0].tolist()) == set(losses.topk(12).indices.tolist())


def test_draw_is_balanced_scored_and_weighted_before_it_is_trained_on():
    data, _ = clouds()
    rrm = make_rrm(data, contamination=0.25, warmup=1)
    method = make(data, rrm, epoch_samples=20, warmup=1)
    method.fit(1)
    assert rrm.epoch == 0  # not yet called
    trained_on = []
    steps = []
    step, mean = rrm.step, rrm.weighted_mean

    def record_step(losses, *, among):
        expected = F.cross_entropy(method.model(data.inputs[among]), data.labels[among], reduction="none")
        torch.testing.assert_close(losses, expected.detach())
        steps.append(among)
        return step(losses, among=among)

    def record_mean(losses, index, **options):
        assert len(steps) == 1
        trained_on.append(index)
        return mean(losses, index, **options)

    rrm.step = record_step
    rrm.weighted_mean = record_mean
    row = method.fit(2)[-1]
    (drawn,) = steps
    assert sorted(torch.cat(trained_on).tolist()) == drawn.tolist()
    assert data.labels[drawn].bincount().tolist() == [10, 10]
    assert row["pruned"] == 5
    assert bool(torch.isin(rrm.trajectory.last.nonzero()[:, 0], drawn).all())
    assert float(rrm.weights[drawn].mean()) == pytest.approx(1)


def test_each_epoch_draws_other_samples():
    data, _ = clouds()
    method = make(data, epoch_samples=20)
    first, second = (method._samples_of(epoch) for epoch in (1, 2))
    assert first.tolist() != second.tolist()
    assert first.tolist() == make(data, epoch_samples=20)._samples_of(1).tolist()


def test_contamination_of_drawn_samples_cannot_be_estimated():
    data, _ = clouds()
    big = TrainingSet(data.inputs.repeat(2, 1), data.labels.repeat(2), 2)
    with pytest.raises(ValueError, match="rrm can't estimate the contamination of drawn samples; give it a"):
        make(big, make_rrm(big, contamination="auto"), epoch_samples=20)


def test_drawn_samples_have_one_warm_up():
    data, _ = clouds()
    with pytest.raises(ValueError, match="rrm must have a warm-up of 1 with epoch_samples, got 10; give `warmup`"):
        make(data, make_rrm(data, contamination=0.2), epoch_samples=20)


def test_rrm_with_unit_weights_changes_nothing():
    data, _ = clouds()
    plain = make(data)
    weighted = make(data, make_rrm(data, contamination=0.2, warmup=3))
    plain.fit(3)
    weighted.fit(3)
    torch.testing.assert_close(plain.model.weight, weighted.model.weight)
