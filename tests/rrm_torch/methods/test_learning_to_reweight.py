from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.testing import assert_close

from rrm_torch.methods.learning_to_reweight import LearningToReweight, sample_weights
from rrm_torch.methods.training_set import TrainingSet
from support.clean_sets import (
    clean_loss_by_hand,
    double_batch,
    recorded_batch,
    recorded_model,
    recorded_numbers,
)

TOLERANCE = 1e-6


def recorded_method(batch):
    data = TrainingSet(batch.x, batch.y, 5)
    clean = TrainingSet(batch.clean_x, batch.clean_y, 5)
    return LearningToReweight(recorded_model(), data, clean)


def opposed(batch):
    """Return a batch whose clean samples are those of the training batch, with every label another one."""
    return batch._replace(clean_x=batch.x, clean_y=(batch.y + 1) % 5)


def test_weights_are_the_recorded_ones(record_property):
    result = sample_weights(recorded_model(), recorded_batch())
    difference = float((result.weights - torch.tensor(recorded_numbers()["l2rw"])).abs().max())
    record_property("weights", difference)
    assert difference < TOLERANCE


def test_weights_are_the_negative_parts_of_finite_differences():
    model = recorded_model().double()
    batch = double_batch(recorded_batch())
    step = 1e-5
    negative = torch.zeros(4, dtype=torch.float64)
    for i in range(4):
        factors = torch.zeros(4, dtype=torch.float64)
        factors[i] = step
        above = clean_loss_by_hand(model, batch, factors, 0.1)
        negative[i] = max(0.0, -(above - clean_loss_by_hand(model, batch, -factors, 0.1)))
    assert 0 < int((negative == 0).sum()) < 4
    assert_close(sample_weights(model, batch).weights, negative / negative.sum(), rtol=1e-6, atol=1e-8)


def test_clean_loss_is_that_of_the_model_as_it_is():
    model = recorded_model()
    batch = recorded_batch()
    expected = F.cross_entropy(copy.deepcopy(model)(batch.clean_x), batch.clean_y)
    assert_close(sample_weights(model, batch).clean_loss, expected)


def test_equal_samples_have_equal_weights():
    batch = recorded_batch()
    x = batch.x[:2].repeat(2, 1, 1, 1)
    y = torch.tensor([0, 0, 0, 0])
    result = sample_weights(recorded_model(), batch._replace(x=x, y=y, clean_x=x, clean_y=y))
    assert_close(result.weights[:2], result.weights[2:])
    assert float(result.weights.sum()) == pytest.approx(1)


def test_weights_are_zero_where_every_sample_raises_the_clean_loss():
    batch = recorded_batch()
    # One sample, as training and as clean sample with another label: the step on it raises the clean loss.
    x = batch.x[:1].repeat(4, 1, 1, 1)
    model = recorded_model().eval()
    result = sample_weights(
        model, batch._replace(x=x, y=torch.zeros(4).long(), clean_x=x, clean_y=torch.ones(4).long())
    )
    assert torch.equal(result.weights, torch.zeros(4))


def test_zero_weights_change_the_model_by_weight_decay_alone():
    batch = recorded_batch()
    x = batch.x[:1].repeat(4, 1, 1, 1)
    method = recorded_method(batch._replace(x=x, y=torch.zeros(4).long(), clean_x=x, clean_y=torch.ones(4).long()))
    method.model.eval()
    before = {name: value.detach().clone() for name, value in method.model.named_parameters()}
    result = method._train_batch(
        batch._replace(x=x, y=torch.zeros(4).long(), clean_x=x, clean_y=torch.ones(4).long()),
    )
    assert torch.equal(result.weights, torch.zeros(4))
    for name, value in method.model.named_parameters():
        assert_close(value.detach(), before[name] * (1 - 0.1 * 5e-4), msg=name)


def test_step_is_one_on_the_weighted_sum_of_the_losses():
    batch = recorded_batch()
    method = recorded_method(batch)
    model = recorded_model()
    losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
    (torch.tensor(recorded_numbers()["l2rw"]) * losses).sum().backward()
    result = method._train_batch(batch)
    assert_close(result.losses, losses.detach())
    for name, value in method.model.named_parameters():
        start = model.get_parameter(name)
        expected = start - 0.1 * (start.grad + 5e-4 * start)
        assert_close(value.detach(), expected.detach(), rtol=0, atol=TOLERANCE, msg=name)
    for name, buffer in method.model.named_buffers():
        assert torch.equal(buffer, dict(model.named_buffers())[name]), name
