from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.testing import assert_close

from rrm_torch.adversarial.attacks import FGSM, PGD
from rrm_torch.adversarial.projected_ascent import Ball
from rrm_torch.adversarial.trades import TRADES
from rrm_torch.losses.regularized import label_loss, split_loss
from support.adversarial import K, distance, images, linear, network


def test_trades_parts_match_the_formula():
    model = network()
    loss, (x, y) = TRADES(PGD(0.2, steps=3), beta=2.0), images()
    model[3].p = 0.0  # no dropout; batch norm still depends on the mode
    torch.manual_seed(0)
    points = loss.perturb(model, x)
    torch.manual_seed(0)
    losses, regularizer, _ = split_loss(loss, model, x, y, torch.arange(6))
    assert_close(losses, F.cross_entropy(model(x), y, reduction="none"))
    p = model(x).softmax(1)
    q = model(points).softmax(1)
    expected = torch.tensor([
        2.0 * sum(a * (math.log(a) - math.log(b)) for a, b in zip(*rows, strict=True))
        for rows in zip(p.tolist(), q.tolist(), strict=True)
    ])  # fmt: skip
    assert_close(regularizer, expected, rtol=1e-3, atol=1e-6)
    assert (regularizer > 0).all()
    assert_close(label_loss(loss)(model(x), y), losses)
    assert_close(regularizer, 2.0 * F.kl_div(q.log(), p, reduction="none").sum(1), rtol=1e-3, atol=1e-6)


def test_trades_gradient_includes_both_passes():
    x = torch.zeros(1, 2)
    y = torch.tensor([0])
    model = linear([3.0, -4.0])
    loss = TRADES(PGD(0.1, clip=(-5, 5)))
    with torch.no_grad():
        model.weight[0, 0] = 1.0
    torch.manual_seed(0)
    points = loss.perturb(model, x)
    torch.manual_seed(0)
    x.requires_grad_()  # only through the clean pass: x' is constant
    _, regularizer, _ = loss.parts(model, x, y, torch.tensor([0]))
    actual = torch.autograd.grad(regularizer.sum(), (model.weight, x))
    divergence = F.kl_div(model(points).log_softmax(1), model(x).log_softmax(1), reduction="sum", log_target=True)
    assert_close(actual, torch.autograd.grad(6 * divergence, (model.weight, x)))
    assert (actual[0] != 0).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_trades_ascent_matches_a_plain_loop(norm):
    # In float64: near x the divergence is almost 0, and its float32 gradient is dominated by rounding.
    model = network().eval().double()
    unit = torch.tensor([0.5, 2.0]).double().reshape(-1, 1, 1)
    x = images()[0].double()
    torch.manual_seed(0)
    actual = TRADES(PGD(0.5, steps=3, step_size=0.1, norm=norm, unit=(0.5, 2.0))).perturb(model, x)
    torch.manual_seed(0)
    z, clean = x / unit + 0.001 * torch.randn_like(x), model(x).softmax(1).detach()  # in units of x
    for _ in range(3):  # too few steps to leave the ball
        z = z.detach().requires_grad_()
        F.kl_div(model(z * unit).log_softmax(1), clean, reduction="sum").backward()
        length = z.grad.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        z = z + 0.1 * (z.grad.sign() if norm == "linf" else z.grad / length)
    assert_close(actual, z.detach() * unit, rtol=0, atol=1e-8)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_trades_maximises_the_divergence_in_the_ball(norm):
    model = network()
    x, _ = images()
    attack = PGD(0.3, norm=norm, unit=(0.5, 2.0), clip=(0.0, 1.0))
    torch.manual_seed(0)
    points = TRADES(attack).perturb(model, x)
    assert (distance(attack, points, x) <= 0.3 * (1 + 1e-5) + 1e-6).all()
    assert points.min() >= 0
    assert points.max() <= 1
    model.eval()

    def divergence(points):
        return F.kl_div(model(points).log_softmax(1), model(x).softmax(1), reduction="none").sum(1)

    elsewhere = Ball(0.3, norm, torch.tensor([0.5, 2.0]).reshape(-1, 1, 1), (0.0, 1.0)).sample(x)
    assert (divergence(points) > divergence(elsewhere)).all()
    assert (divergence(points) > 0.001).all()


def test_trades_restores_modes():
    model = network()
    observed = []
    model.register_forward_pre_hook(lambda module, inputs: observed.append((module.training, inputs[0])))
    modes = [module.training for module in model.modules()]
    x, y = images()
    TRADES(PGD(0.2, steps=3)).parts(model, x, y, torch.arange(6))
    assert [training for training, _ in observed] == [False] * 4 + [True] * 2
    assert torch.equal(observed[4][1], x)
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(RuntimeError):
        TRADES(PGD(0.2)).parts(model, torch.zeros(2, 7, 5, 5), y[:2], y[:2])
    assert [module.training for module in model.modules()] == modes


def test_trades_regularizer_is_independent_of_the_label():
    model = network().eval()
    x, y = images()
    regularizers = []
    for labels in (y, (y + 1) % K):
        torch.manual_seed(1)
        regularizers.append(TRADES(PGD(0.2)).parts(model, x, labels, y).regularizer)
    assert_close(*regularizers, rtol=0, atol=0)


def test_trades_with_eps_zero():
    model = network().eval()
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    x, y = images()
    assert_close(TRADES(PGD(0.0)).parts(model, x, y, y).regularizer, torch.zeros(6))
    assert len(passes) == 2


@pytest.mark.parametrize("size", [1e2, 1e4])
def test_trades_with_extreme_logits(size):
    model = linear([size, -size])
    _, regularizer, _ = TRADES(PGD(0.5)).parts(
        model, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]), None
    )
    assert regularizer.isfinite().all()
    (gradient,) = torch.autograd.grad(regularizer.sum(), model.weight)
    assert gradient.isfinite().all()


def test_trades_rejects_bad_arguments():
    with pytest.raises(TypeError, match=r"attack must be a PGD, got FGSM\(.*; one step is PGD\(eps, steps=1\)"):
        TRADES(FGSM(0.1))
    for beta in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"beta must be finite and at least 0, got {beta}"):
            TRADES(PGD(0.1), beta=beta)
    with pytest.raises(TypeError, match="x must be floating-point"):
        TRADES(PGD(0.1)).perturb(network(), torch.zeros(2, 2, 5, 5, dtype=torch.uint8))
    assert repr(TRADES(PGD(0.1))).startswith("TRADES(PGD(eps=0.1, clip=None")
