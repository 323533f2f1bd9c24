"""What other code sets in torch and NumPy, such as the default dtype, changes neither the state nor its bits."""

from __future__ import annotations

import pytest
import torch

from rrm_torch import RRM, BatchRRM
from support.layout_jobs import flatten
from support.torch_defaults import SETTINGS
from support.weighting import FIVE, INDEX, assert_identical

FLOAT32 = torch.float32


def course(kind):
    """Return the state after three epochs, saved and loaded in the middle of the third."""
    make = lambda: kind(5, contamination=0.2, warmup=1)  # noqa: E731
    rrm = make()
    for epoch in range(3):
        rrm.weighted_mean(FIVE[:2] + epoch, INDEX[:2])
        state = rrm.state_dict()
        rrm = make()
        rrm.load_state_dict(state)
        rrm.weighted_mean(FIVE[2:5], INDEX[2:5])
        rrm.step()
    return rrm


@pytest.mark.parametrize("kind", [RRM, BatchRRM])
@pytest.mark.parametrize("setting", SETTINGS)
def test_state_does_not_depend_on_settings_of_others(setting, kind):
    wanted = flatten(course(kind).state_dict())
    with SETTINGS[setting]():
        rrm = course(kind)
        state = rrm.state_dict()
        shares = rrm.trajectory.share_pruned.dtype, rrm.trajectory.mean_excess.dtype
        ranking = rrm.ranking().tolist()
    assert flatten(state) == wanted
    assert shares == (FLOAT32, FLOAT32)
    assert ranking == course(kind).ranking().tolist()
    assert {rrm.weights.dtype, rrm.losses.dtype} == {FLOAT32}
    assert rrm.weights.device.type == "cpu"


@pytest.mark.parametrize("kind", [RRM, BatchRRM])
def test_trains_after_state_was_made_in_inference_mode(kind):
    with torch.inference_mode():
        rrm = course(kind)
        rrm.record(FIVE[:2], INDEX[:2])
        rrm.reset_losses()
        rrm.step(FIVE) if kind is RRM else None
    losses = FIVE.clone().requires_grad_()
    rrm.weighted_mean(losses, INDEX[:5]).backward()
    assert losses.grad is not None
    rrm.step()


@pytest.mark.parametrize("losses", [torch.rand(4, dtype=torch.complex64), torch.arange(4), torch.ones(4).bool(), [0.1]])
def test_rejects_losses_that_are_not_floating_point(losses):
    rrm = RRM(4, contamination=0.25, warmup=1)
    for call in (rrm.weighted_mean, rrm.record):
        with pytest.raises(TypeError, match="losses must be a tensor of floating-point numbers, got"):
            call(losses, torch.arange(4))
    if not isinstance(losses, list):
        with pytest.raises(TypeError, match="losses must be a tensor of floating-point numbers, got"):
            rrm.step(losses)
    with pytest.raises(TypeError, match="regularizer must be a tensor of floating-point numbers, got"):
        rrm.weighted_mean(FIVE[:4], torch.arange(4), regularizer=losses)


@pytest.mark.parametrize("transform", ["grad", "vmap"])
def test_transform_of_torch_func_names_remedy(transform):
    rrm = RRM(4, contamination=0.25, warmup=1)
    call = lambda factor: rrm.weighted_mean(factor * FIVE[:4], INDEX[:4])  # noqa: E731
    with pytest.raises(RuntimeError, match=r"torch.func.*rrm.weights_for\(index\).*rrm.record outside"):
        torch.func.grad(call)(torch.tensor(1.0)) if transform == "grad" else torch.func.vmap(call)(torch.ones(3))
    losses = torch.func.grad(lambda factor: (rrm.weights_for(INDEX[:4]) * factor * FIVE[:4]).mean())
    assert losses(torch.tensor(1.0)) == FIVE[:4].mean()


def test_losses_that_torch_negates_lazily_are_recorded_by_value():
    plain = FIVE[:4].clone()
    negated = torch.complex(plain, -plain).conj().imag
    assert negated.is_neg()
    rrm = RRM(4, contamination=0.25, warmup=1)
    rrm.weighted_mean(negated, INDEX[:4])
    rrm.step()
    assert_identical(rrm.losses, plain)
    rrm.step(negated)
    assert_identical(rrm.losses, plain)


def test_state_in_another_memory_format():
    rrms = [RRM(64, contamination=0.25, warmup=1) for _ in range(2)]
    for seed in range(4):
        rrms[0].step(torch.rand(64, generator=torch.Generator().manual_seed(seed)))
    state = rrms[0].state_dict()
    state["trajectory"]["bits"] = state["trajectory"]["bits"].T.contiguous().T
    rrms[1].load_state_dict(state)
    assert_identical(rrms[1].trajectory.share_pruned, rrms[0].trajectory.share_pruned)
