from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch.methods.virtual_step import clean_loss, sample_losses
from support.clean_sets import clean_loss_by_hand, double_batch, recorded_batch, recorded_model


def test_clean_loss_is_that_after_a_step_of_sgd():
    model = recorded_model()
    factors = torch.tensor([0.1, 0.4, 0.0, 0.3])
    loss = clean_loss(model, recorded_batch(), lambda losses: factors, virtual_rate=0.5)
    assert float(loss.detach()) == pytest.approx(clean_loss_by_hand(model, recorded_batch(), factors, 0.5), abs=1e-6)
    assert float(loss.detach()) != pytest.approx(clean_loss_by_hand(model, recorded_batch(), factors, 0.0), abs=1e-3)


def test_derivative_is_that_of_finite_differences():
    model = recorded_model().double()
    batch = double_batch(recorded_batch())
    factors = torch.tensor([0.1, 0.4, 0.0, 0.3], dtype=torch.float64, requires_grad=True)
    loss = clean_loss(model, batch, lambda losses: factors, virtual_rate=0.5)
    (gradient,) = torch.autograd.grad(loss, factors)
    step = 1e-5
    for i in range(4):
        change = torch.zeros(4, dtype=torch.float64)
        change[i] = step
        above = clean_loss_by_hand(model, batch, factors.detach() + change, 0.5)
        below = clean_loss_by_hand(model, batch, factors.detach() - change, 0.5)
        assert float(gradient[i]) == pytest.approx((above - below) / (2 * step), rel=1e-6)


def test_model_is_not_changed():
    model = recorded_model()
    before = copy.deepcopy(model.state_dict())
    sample_losses(model, {}, recorded_batch().x, recorded_batch().y)
    clean_loss(model, recorded_batch(), torch.ones_like, virtual_rate=0.5)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_coefficients_get_constant_losses():
    def coefficients(losses):
        assert not losses.requires_grad
        return losses.softmax(0)

    clean_loss(recorded_model(), recorded_batch(), coefficients, virtual_rate=0.5)


def test_parameters_without_a_gradient_and_those_without_effect_take_no_step():
    model = recorded_model()
    model[1].bias.requires_grad_(False)
    model.unused = nn.Linear(2, 2)
    model.forward = lambda x: model[1](model[0](x))
    loss = clean_loss(model, recorded_batch(), torch.ones_like, virtual_rate=0.5)
    frozen = recorded_model()
    frozen[1].bias.requires_grad_(False)
    assert_close(loss, torch.tensor(clean_loss_by_hand(frozen, recorded_batch(), torch.ones(4), 0.5)))


def test_losses_of_a_model_in_half_precision_have_full_precision():
    batch = recorded_batch()
    losses = sample_losses(recorded_model().bfloat16(), {}, batch.x.bfloat16(), batch.y)
    assert losses.dtype == torch.float32
    assert not torch.equal(losses, losses.bfloat16().float())
