"""Losses of float64 keep their order, and a loss that is NaN adds nothing to the mean."""

from __future__ import annotations

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import rrm_core
from rrm_torch import RRM, BatchRRM
from support.weighting import FIVE, INDEX, assert_identical, one_epoch

CLOSE = 1 + 1e-9 * torch.tensor([3, 0, 4, 1, 2], dtype=torch.float64)
FAR = torch.tensor([1.0, 1e300, 2.0, 3.0, 1e200], dtype=torch.float64)
TINY = torch.tensor([1e-320, 0, 5e-324, 2e-320, 1e-322], dtype=torch.float64)


def test_first_batch_of_float64_is_recomputed_in_backward():
    rrm = RRM(5, contamination=0.4, unseen="latest")
    inputs = CLOSE.clone().requires_grad_()
    mean = checkpoint(lambda x: rrm.weighted_mean(2 * x, INDEX[:5]), inputs, use_reentrant=False)
    mean.backward()
    torch.testing.assert_close(inputs.grad, torch.full((5,), 2 / 5, dtype=torch.float64))


@pytest.mark.parametrize("losses", [CLOSE, FAR, TINY], ids=["close", "far", "tiny"])
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_float64_losses_keep_their_order(losses, unit):
    rrm = RRM(5, contamination=0.4, warmup=1, mu=0.3, unit=unit)
    rrm.weighted_mean(losses, INDEX[:5])
    rrm.step()
    expected, plan = rrm_core.reweight(losses, contamination=0.4, mu=0.3, redistribute="kept")
    assert rrm.plan == plan
    assert_identical(rrm.weights, expected)
    assert_identical(rrm.losses, losses)
    assert set(rrm.flagged().tolist()) == set(losses.argsort()[-2:].tolist())
    again = RRM(5, contamination=0.4, warmup=1, mu=0.3, unit=unit)
    again.load_state_dict(rrm.state_dict())
    assert again.plan == plan
    for other in (rrm, again):
        other.weighted_mean(FIVE, INDEX[:5])
        other.step()
    assert_identical(again.weights, rrm.weights)
    assert again.trajectory.rounds == rrm.trajectory.rounds


def test_state_is_float64_once_a_float64_loss_came():
    rrm = RRM(5, contamination=0.2, warmup=1)
    one_epoch(rrm)
    weights = rrm.weights.clone()
    rrm.weighted_mean(CLOSE[:1], INDEX[:1])
    assert {rrm.weights.dtype, rrm.losses.dtype, rrm.state_dict()["recorded"].dtype} == {torch.float64}
    assert_identical(rrm.weights, weights.double())
    rrm.weighted_mean(FIVE[1:], INDEX[1:5])
    rrm.step()
    assert_identical(rrm.losses, torch.cat([CLOSE[:1], FIVE[1:].double()]))


def test_batch_rrm_keeps_order_of_float64_losses():
    rrm = BatchRRM(5, contamination=0.4, warmup=1)
    rrm.step()
    rrm.weighted_mean(CLOSE, INDEX[:5])
    assert rrm.weights.dtype == torch.float64
    assert (rrm.weights == 0).nonzero()[:, 0].tolist() == [0, 2]


@pytest.mark.parametrize("kind", [RRM, BatchRRM])
@pytest.mark.parametrize("scale", ["mean", "paper"])
def test_empty_batch_has_mean_0_with_gradient(kind, scale):
    rrm = kind(5, contamination=0.2, warmup=1, scale=scale)
    losses = torch.zeros(0, requires_grad=True)
    mean = rrm.weighted_mean(losses, INDEX[:0])
    assert mean == 0
    mean.backward()
    assert losses.grad.shape == (0,)


@pytest.mark.parametrize("with_regularizer", [False, True])
def test_mean_is_over_the_samples_that_have_a_loss(with_regularizer):
    rrm = RRM(5, contamination=0.2, warmup=1, unseen="latest")
    losses = torch.tensor([1.0, torch.nan, 3.0], requires_grad=True)
    regularizer = torch.tensor([0.5, 1.0, 1.5]) if with_regularizer else None
    mean = rrm.weighted_mean(losses, INDEX[:3], regularizer=regularizer)
    assert mean == (3.0 if with_regularizer else 2.0)
    mean.backward()
    assert losses.grad.tolist() == [0.5, 0, 0.5]


def test_mean_of_samples_without_a_loss_is_0_with_gradient_0():
    rrm = RRM(5, contamination=0.2, warmup=1, unseen="latest")
    losses = torch.full((2,), torch.nan, requires_grad=True)
    mean = rrm.weighted_mean(losses, INDEX[:2])
    assert mean == 0
    mean.backward()
    assert losses.grad.tolist() == [0, 0]


def test_warns_of_nan_before_reweight_is_due():
    rrm = RRM(5, contamination=0.2, warmup=3)
    rrm.weighted_mean(FIVE * torch.nan, INDEX[:5])
    with pytest.warns(UserWarning, match="5 of the 5 samples have a loss that is NaN"):
        rrm.step()
