from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.testing import assert_close

from rrm_torch.losses.elr import ELR
from rrm_torch.losses.per_sample import cross_entropy
from rrm_torch.losses.regularized import Regularized, label_loss

K = 4


def batch(n=6, dtype=torch.float32, seed=0):
    """Logits and classes."""
    return 2 * torch.randn(n, K, generator=torch.Generator().manual_seed(seed), dtype=dtype), torch.arange(n) % K


def slow_elr(logits, q, *, beta, weight):
    """One sample's regularizer and its updated average, in plain Python."""
    exponentials = [math.exp(z - max(logits)) for z in logits]
    p = [min(max(e / sum(exponentials), 1e-4), 1 - 1e-4) for e in exponentials]
    q = [beta * old + (1 - beta) * new / sum(p) for old, new in zip(q, p, strict=True)]
    return weight * math.log(1 - sum(a * b for a, b in zip(q, p, strict=True))), q


def test_elr_against_plain_python():
    elr = ELR(5, K, beta=0.6, weight=2.0)
    averages = [[0.0] * K for _ in range(5)]
    for step, indices in enumerate([[0, 1, 2], [4, 2], [2, 0, 1, 3, 4], [2]]):
        outputs, hard = batch(len(indices), seed=step)
        outputs[0] *= 20  # beyond the clamp
        losses, regularizer, _ = elr.parts(nn.Identity(), outputs, hard, torch.tensor(indices))
        assert_close(losses, F.cross_entropy(outputs, hard, reduction="none"))
        for row, i in enumerate(indices):
            expected, averages[i] = slow_elr(outputs[row].tolist(), averages[i], beta=0.6, weight=2.0)
            assert regularizer[row].item() == pytest.approx(expected, rel=1e-4)
        assert_close(elr.targets, torch.tensor(averages))
    assert isinstance(elr, Regularized)


def test_elr_gradient_treats_the_average_as_constant():
    outputs, hard = batch(dtype=torch.float64)
    elr = ELR(6, K)
    elr.parts(nn.Identity(), batch(seed=3)[0], hard, torch.arange(6))
    _, regularizer, _ = elr.parts(nn.Identity(), outputs.requires_grad_(), hard, torch.arange(6))
    constant = elr.targets.double()
    (actual,) = torch.autograd.grad(regularizer.sum(), outputs)
    assert torch.autograd.gradcheck(lambda z: (1 - (constant * z.softmax(1)).sum(1)).log(), outputs)
    (expected,) = torch.autograd.grad(3 * (1 - (constant * outputs.softmax(1)).sum(1)).log().sum(), outputs)
    assert_close(actual, expected)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_elr_extreme_logits(size):
    elr = ELR(2, K)
    outputs = torch.tensor([[size, -size, 0, 0], [0, 0, 0, size]]).requires_grad_()
    for _ in range(100):
        losses, regularizer, _ = elr.parts(nn.Identity(), outputs, torch.tensor([0, 1]), torch.arange(2))
    assert regularizer.min() > 3 * math.log(0.9e-4)
    (gradient,) = torch.autograd.grad((losses + regularizer).sum(), outputs)
    assert gradient.isfinite().all()
    assert regularizer.isfinite().all()


def test_elr_label_loss_keeps_targets_and_half_precision_is_computed_in_single():
    outputs, hard = batch()
    elr = ELR(6, K)
    assert_close(label_loss(elr)(outputs, hard), cross_entropy(outputs, hard))
    assert (elr.targets == 0).all()
    actual = elr.parts(nn.Identity(), outputs.bfloat16(), hard, torch.arange(6, dtype=torch.int32))
    assert {part.dtype for part in actual[:2]} == {torch.float32} == {elr.targets.dtype}


def test_elr_state_round_trip(tmp_path):
    outputs, hard = batch()
    elr = ELR(6, K)
    other = ELR(6, K)
    elr.parts(nn.Identity(), outputs, hard, torch.arange(6))
    torch.save(elr.state_dict(), tmp_path / "elr.pt")
    other.load_state_dict(torch.load(tmp_path / "elr.pt", weights_only=True))
    assert_close(other.targets, elr.targets, rtol=0, atol=0)
    actual = [e.parts(nn.Identity(), outputs, hard, torch.arange(6)) for e in (elr, other)]
    assert_close(*actual, rtol=0, atol=0)
    state = elr.state_dict()
    before = elr.targets.clone()
    state["targets"].zero_()
    assert_close(elr.targets, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("targets"), "state lacks targets; pass what ELR.state_dict"),
        (lambda s: s["settings"].update(beta=0.9), "other settings: beta is 0.9 in the state and 0.7 here"),
        (lambda s: s.update(targets=torch.zeros(3, 2)), r"state's targets must have shape \(6, 4\), got \(3, 2\)"),
    ],
)
def test_load_state_dict_rejects_state_of_another_elr(change, message):
    elr = ELR(6, K)
    state = ELR(6, K).state_dict()
    change(state)
    with pytest.raises(ValueError, match=message):
        elr.load_state_dict(state)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"n_classes": 1}, "n_classes must be at least 2, got 1"),
        ({"beta": 1}, r"beta must lie in \[0, 1\), got 1"),
        ({"beta": math.nan}, r"beta must lie in \[0, 1\), got nan"),
        ({"weight": -1}, "weight must be finite and at least 0, got -1"),
    ],
)
def test_elr_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ELR(**{"n": 6, "n_classes": K} | arguments)


def test_elr_rejects_wrong_batch():
    outputs, hard = batch()
    elr = ELR(6, K)
    with pytest.raises(ValueError, match=r"outputs must have shape \(6, 4\) for 6 indices .* got \(6, 3\)"):
        elr.parts(nn.Identity(), outputs[:, :3], hard, torch.arange(6))
    with pytest.raises(ValueError, match=r"outputs must have shape \(2, 4\) for 2 indices .* got \(6, 4\)"):
        elr.parts(nn.Identity(), outputs, hard, torch.arange(2))
    for outside in (6, -1):
        with pytest.raises(IndexError, match="out of range"):
            elr.parts(nn.Identity(), outputs[:1], hard[:1], torch.tensor([outside]))
    assert (elr.targets == 0).all()


def test_repr():
    assert repr(ELR(6, 4)) == "ELR(n=6, n_classes=4, beta=0.7, weight=3.0)"


@pytest.mark.parametrize(
    "change",
    [
        *[{"settings": value} for value in (None, 3, [], {}, {"n": 4, "n_classes": True, "beta": 0.7, "weight": 3.0})],
        *[{"settings": {"n": torch.tensor([4, 4]), "n_classes": 3, "beta": 0.7, "weight": 3.0}}],
        *[{"targets": value} for value in (None, 3, [[0.0] * 3] * 4, torch.zeros(3, 4), torch.zeros(4, 3).double())],
        *[{"targets": torch.full((4, 3), value)} for value in (-0.1, 1.1, float("inf"), 1e30)],
        *[{"targets": torch.zeros(4, 3, dtype=torch.int64)}, {"targets": torch.zeros(4, 3).to_sparse()}],
        {"targets": torch.zeros(4, 3, device="meta")},
    ],
)
def test_load_rejects_forged_states_and_keeps_the_targets(change):
    elr = ELR(4, 3)
    elr.targets.fill_(0.25)
    with pytest.raises(ValueError, match="state"):
        elr.load_state_dict(elr.state_dict() | change)
    assert bool((elr.targets == 0.25).all())


def test_load_keeps_targets_of_outputs_that_were_nan():
    elr = ELR(4, 3)
    elr.targets[1] = torch.nan
    again = ELR(4, 3)
    again.load_state_dict(elr.state_dict())
    assert bool(again.targets[1].isnan().all())
