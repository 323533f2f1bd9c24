from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from rrm_torch.adversarial.attacks import BY_NAME, FGSM, PGD
from rrm_torch.adversarial.projected_ascent import Ball, ascend
from rrm_torch.losses.elr import ELR
from rrm_torch.losses.per_sample import cross_entropy, mean_squared_error
from support.adversarial import EVERY_ATTACK, K, distance, images, linear, network, seeded

every_attack = pytest.mark.parametrize("attack", EVERY_ATTACK.values(), ids=EVERY_ATTACK)


# Properties of every attack


@every_attack
@pytest.mark.parametrize("clip", [None, (0.0, 1.0), (0.3, 0.6)])
@pytest.mark.parametrize("unit", [1.0, 2.5, (0.5, 3.0)])
def test_stays_in_ball_and_clip_and_increases_the_loss(attack, clip, unit):
    attack, model = replace(attack, clip=clip, unit=unit), network().eval()
    x, y = images()
    if clip is not None:
        x = x.clamp(*clip)
    points = seeded(attack, model, x, y)
    assert points.shape == x.shape
    assert points.dtype == x.dtype
    assert not points.requires_grad
    moved = distance(attack, points, x)
    assert (moved <= 0.2 * (1 + 1e-5) + 1e-6).all()
    assert (moved > 0.05).all()
    if clip is not None:
        assert points.min() >= clip[0]
        assert points.max() <= clip[1]
    assert (cross_entropy(model(points), y) > cross_entropy(model(x), y)).all()


@given(
    eps=st.floats(1e-3, 10),
    step=st.floats(1e-3, 20),
    steps=st.integers(1, 4),
    norm=st.sampled_from(["linf", "l2"]),
    random_start=st.booleans(),
    unit=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)),
    clip=st.none() | st.tuples(st.floats(-2, 0), st.floats(0.5, 2)),
    seed=st.integers(0, 2**32),
)
def test_pgd_stays_in_the_ball_for_any_options(eps, step, steps, norm, random_start, unit, clip, seed):
    attack = PGD(eps, steps=steps, step_size=step, norm=norm, random_start=random_start, unit=unit, clip=clip)
    x, y = images(3)
    if clip is not None:
        x = x.clamp(*clip)
    points = attack(network(), x, y, generator=torch.Generator().manual_seed(seed))
    assert (distance(attack, points, x) <= eps * (1 + 1e-4) + 1e-5).all()
    if clip is not None:
        # In float32, the type of x.
        assert points.min() >= torch.tensor(clip[0])
        assert points.max() <= torch.tensor(clip[1])


@every_attack
@pytest.mark.parametrize("training", [True, False])
def test_leaves_the_model_unchanged(attack, training):
    model = network()
    if not training:
        model.eval()
    modes = [module.training for module in model.modules()]
    model[0].weight.grad = torch.full_like(model[0].weight, 7.0)
    before = copy.deepcopy(model.state_dict())
    x, y = images()
    originals = x.clone(), y.clone()
    attack(model, x, y)
    assert_close((x, y), originals, rtol=0, atol=0)
    assert [module.training for module in model.modules()] == modes
    assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert (model[0].weight.grad == 7).all()
    assert all(p.grad is None for name, p in model.named_parameters() if name != "0.weight")
    assert all(p.requires_grad for p in model.parameters())


@every_attack
def test_restores_modes_if_the_model_raises(attack):
    model = network()
    modes = [module.training for module in model.modules()]
    with pytest.raises(RuntimeError):
        attack(model, torch.zeros(2, 7, 5, 5), torch.zeros(2, dtype=torch.int64))
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@every_attack
def test_model_mode(attack):
    model = network()
    observed = []
    model[1].train()
    model.register_forward_pre_hook(lambda module, _: observed.append(module.training))
    x, y = images()
    before = model[1].running_mean.clone()
    attack(model, x, y)
    assert not any(observed)
    assert_close(model[1].running_mean, before, rtol=0, atol=0)
    observed.clear()
    replace(attack, model_mode="train")(model, x, y)
    assert all(observed)
    assert len(observed) == getattr(attack, "steps", 1)
    assert (model[1].running_mean != before).all()


@every_attack
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_works_with_gradients_disabled(attack, context):
    model = network()
    x, y = images()
    weights = torch.linspace(0, 2, len(x))
    expected = seeded(attack, model, x, y, weights=weights)
    with context():
        actual = seeded(attack, model, x.clone(), y.clone(), weights=weights.clone())
        assert not torch.is_grad_enabled()
    assert_close(actual, expected, rtol=0, atol=0)


@every_attack
def test_works_in_mixed_precision(attack):
    model = network()
    x, y = images()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        model(x)  # fills autocast's cache of weights
        points = seeded(attack, model, x, y)
    assert points.dtype == torch.float32
    assert (distance(attack, points, x) > 0.05).all()


@every_attack
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_keeps_the_dtype(attack, dtype):
    x, y = images()
    observed = []
    points = attack(network().to(dtype), x.to(dtype), y, lambda z, y: observed.append(z.dtype) or cross_entropy(z, y))
    assert points.dtype == dtype
    assert points.isfinite().all()
    assert set(observed) == {torch.float64 if dtype == torch.float64 else torch.float32}


@every_attack
def test_random_numbers_come_from_the_generator(attack):
    model = network()
    x, y = images()
    state = torch.get_rng_state()
    first = attack(model, x, y, generator=torch.Generator().manual_seed(3))
    assert_close(torch.get_rng_state(), state)
    assert_close(attack(model, x, y, generator=torch.Generator().manual_seed(3)), first, rtol=0, atol=0)
    torch.manual_seed(3)
    assert_close(attack(model, x, y), first, rtol=0, atol=0)
    random = getattr(attack, "random_start", False)
    assert torch.equal(attack(model, x, y, generator=torch.Generator().manual_seed(4)), first) != random


@every_attack
def test_eps_zero_returns_a_copy(attack):
    x, y = images()
    model = network()
    state = torch.get_rng_state()
    points = replace(attack, eps=0, clip=(0.4, 0.5))(model, x, y)
    assert torch.equal(points, x)
    assert points.data_ptr() != x.data_ptr()
    assert_close(torch.get_rng_state(), state)


class Flat(nn.Module):
    """Logits that are computed from x but don't depend on it."""

    def forward(self, x):
        return 0 * x.flatten(1)[:, :K]


@every_attack
def test_zero_gradient_moves_no_sample(attack):
    x, y = images()
    points = attack(Flat(), x, y)
    assert points.isfinite().all()
    assert torch.equal(points, x) != getattr(attack, "random_start", False)


@every_attack
@pytest.mark.parametrize("scale", [1e-25, 1e-6, 1e6, 1e30])
def test_result_is_independent_of_gradient_magnitude(attack, scale):
    model = network()
    x, y = images()
    expected = seeded(attack, model, x, y)
    actual = seeded(attack, model, x, y, lambda outputs, y: scale * cross_entropy(outputs, y))
    assert_close(actual, expected, rtol=0, atol=1e-5)


@every_attack
def test_sample_is_independent_of_its_batch(attack):
    attack = replace(attack, random_start=False) if isinstance(attack, PGD) else attack
    model = network()
    x, y = images()
    alone = torch.cat([attack(model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert_close(attack(model, x, y), alone, rtol=0, atol=1e-5)


@every_attack
def test_samples_of_weight_zero_are_not_perturbed(attack):
    attack = replace(attack, random_start=False) if isinstance(attack, PGD) else attack
    model = network()
    x, y = images()
    weights = torch.tensor([0.0, 1.0, 0.5, 2.0, 0.0, 1e-3])
    plain = attack(model, x, y)
    weighted = attack(model, x, y, weights=weights)
    assert torch.equal(weighted[weights == 0], x[weights == 0])
    assert_close(weighted[weights > 0], plain[weights > 0], rtol=0, atol=1e-5)
    assert replace(attack, weighted=True).weighted
    assert not attack.weighted


def test_weights_matter_with_batch_norm_in_training_mode():
    attack = FGSM(0.2, model_mode="train")
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(50), nn.Linear(50, K))
    x, y = images()
    weights = torch.tensor([0.0, 1.0, 9.0, 2.0, 0.0, 1.0])
    moving = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((weights * cross_entropy(model(moving), y)).sum(), moving)
    assert_close(attack(model, x, y, weights=weights), x + 0.2 * gradient.sign())
    assert not torch.equal(attack(model, x, y, weights=weights), attack(model, x, y))


@every_attack
def test_custom_and_regularized_losses(attack):
    model = network()
    x, y = images()
    assert_close(seeded(attack, model, x, y, ELR(6, K)), seeded(attack, model, x, y), rtol=0, atol=0)
    assert not torch.equal(seeded(attack, model, x, y, mean_squared_error), seeded(attack, model, x, y))
    soft = torch.full((6, K), 1 / K)
    assert (cross_entropy(model.eval()(attack(model, x, soft)), soft) > cross_entropy(model(x), soft)).all()


# Values of each attack


@pytest.mark.parametrize("unit", [1.0, (0.5, 3.0)])
def test_fgsm_matches_its_formula(unit):
    model = network().eval()
    x, y = images()
    moving = x.clone().requires_grad_()
    F.cross_entropy(model(moving), y).backward()
    expected = (x + 0.2 * torch.tensor(unit).reshape(-1, 1, 1) * moving.grad.sign()).clamp(0.1, 0.9)
    actual = FGSM(0.2, clip=(0.1, 0.9), unit=unit)(model, x, y)
    assert_close(actual, expected)


def test_unit_equals_standardising_inside_the_model():
    std = torch.tensor([0.25, 0.5])
    network_ = network().eval()
    inside = nn.Sequential(Standardise(std), network_)
    x, y = images()
    for attack in EVERY_ATTACK.values():
        expected = seeded(attack, inside, x, y)
        actual = seeded(replace(attack, unit=tuple((1 / std).tolist())), network_, x / std.reshape(-1, 1, 1), y)
        assert_close(actual * std.reshape(-1, 1, 1), expected, rtol=0, atol=1e-5)
        assert replace(attack, unit=1 / std) == replace(attack, unit=[4, 2.0])  # tensors and lists too


class Standardise(nn.Module):
    def __init__(self, std):
        super().__init__()
        self.std = std

    def forward(self, x):
        return x / self.std.reshape(-1, 1, 1)


def test_finds_the_optimum_of_a_linear_model():
    x = torch.tensor([[0.5, 0.5], [0.0, 1.0]])
    y = torch.tensor([0, 1])
    weight = [3.0, -4.0]
    sides = torch.tensor([[1.0], [-1.0]])  # the logit of class 0 is 0: the attack raises weight @ x
    linf = PGD(0.1, random_start=True)(linear(weight), x, y)
    assert_close(linf, x + 0.1 * sides * torch.tensor([1.0, -1.0]))
    l2 = PGD(0.1, norm="l2", random_start=False)(linear(weight), x, y)
    assert_close(l2, x + 0.1 * sides * torch.tensor([0.6, -0.8]))
    # In x / unit the gradient is (3 * 4, -4 * 3), and its direction (1, -1) / sqrt(2); multiplied by unit in x.
    l2 = PGD(0.1, norm="l2", random_start=False, unit=(4.0, 3.0))(linear(weight), x, y)
    assert_close(l2, x + 0.1 * sides * torch.tensor([4.0, -3.0]) / math.sqrt(2))


def test_pgd_step_size():
    x, y = torch.zeros(1, 2), torch.tensor([0])
    assert PGD(0.4, steps=5).effective_step_size == pytest.approx(0.2)
    assert PGD(0.4, steps=5, step_size=0.3).effective_step_size == 0.3
    for norm, expected in (("linf", [[0.2, -0.2]]), ("l2", [[0.12, -0.16]])):
        attack = PGD(1.0, steps=2, step_size=0.1, norm=norm, random_start=False)
        assert_close(attack(linear([3.0, -4.0]), x, y), torch.tensor(expected))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_ball_sample_distribution(norm):
    x = torch.full((4000, 2, 3), 5.0)
    start = Ball(2.0, norm, 1.0, None).sample(x, torch.Generator().manual_seed(0)) - x
    distances = start.flatten(1).norm(dim=1) if norm == "l2" else start.abs().flatten()
    quantiles = distances.quantile(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert_close(quantiles, torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]), rtol=0, atol=0.05)
    assert_close(start.mean(0), torch.zeros(2, 3), rtol=0, atol=0.1)


def test_ascend_maximises_any_objective():
    x = torch.zeros(2, 3)
    target = torch.tensor([[0.3, -0.2, 0.1], [5.0, 0.0, 0.0]])
    actual = ascend(lambda p: -(p - target).square().sum(1), x, x, Ball(1.0, "l2", 1.0, None), steps=200, size=0.01)
    assert_close(actual, torch.tensor([[0.3, -0.2, 0.1], [1.0, 0.0, 0.0]]), rtol=0, atol=0.02)


# Errors


def test_by_name_table():
    assert {"fgsm": FGSM, "pgd": PGD} == BY_NAME


@pytest.mark.parametrize("attack", BY_NAME.values())
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -0.1}, r"eps must be finite and at least 0, got -0\.1"),
        ({"eps": math.nan}, "eps must be finite and at least 0, got nan"),
        ({"eps": math.inf}, "eps must be finite and at least 0, got inf"),
        ({"clip": (1, 1)}, r"clip must be \(low, high\) with low < high, got \(1, 1\)"),
        ({"clip": (1, 0)}, r"clip must be \(low, high\) with low < high, got \(1, 0\)"),
        ({"clip": (math.nan, 1)}, r"clip must be \(low, high\) with low < high, got \(nan, 1\)"),
        ({"clip": 0.5}, r"clip must be \(low, high\) with low < high, got 0\.5"),
        ({"clip": (0, 1, 2)}, r"clip must be \(low, high\) with low < high, got \(0, 1, 2\)"),
        ({"unit": 0}, "unit must be positive and finite, or one such number per channel, got 0"),
        ({"unit": (1, -1)}, r"unit must be positive .* got \(1\.0, -1\.0\)"),
        ({"unit": ()}, r"unit must be positive .* got \(\)"),
        ({"unit": math.nan}, "unit must be positive .* got nan"),
        ({"model_mode": "test"}, "model_mode must be one of eval, train, got 'test'"),
    ],
)
def test_rejects_bad_options(attack, options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        attack(**{"eps": 0.1} | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": "0.1"}, "eps must be a number, got '0.1'"),
        ({"eps": None}, "eps must be a number, got None"),
        ({"unit": None}, "unit must be a number, or one per channel, got None"),
        ({"unit": "a"}, "unit must be a number, or one per channel, got 'a'"),
        ({"unit": [[1.0, 2.0]]}, r"unit must be a number, or one per channel, got \[\[1\.0, 2\.0\]\]"),
        ({"steps": 2.5}, r"steps must be an integer, got 2\.5"),
    ],
)
def test_rejects_options_that_are_not_numbers(options, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        PGD(**{"eps": 0.1} | options)


def test_unit_accepts_numbers_sequences_arrays_and_tensors():
    assert [FGSM(0.1, unit=unit).unit for unit in (2, 2.0, torch.tensor(2.0), np.float32(2))] == [2.0] * 4
    assert [FGSM(0.1, unit=unit).unit for unit in ([1, 2], torch.tensor([1.0, 2.0]), np.array([1, 2]))] == [
        (1.0, 2.0)
    ] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"step_size": 0}, "step_size must be positive and finite, got 0; None is"),
        ({"step_size": math.nan}, "step_size must be positive and finite, got nan"),
        ({"norm": "l1"}, "norm must be one of linf, l2, got 'l1'"),
    ],
)
def test_pgd_rejects_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        PGD(0.1, **options)


@every_attack
def test_rejects_wrong_inputs(attack):
    x, y = images()
    with pytest.raises(TypeError, match=r"x must be floating-point, got torch\.uint8; convert with x\.float\(\)"):
        attack(network(), (255 * x).byte(), y)
    with pytest.raises(ValueError, match=r"unit has 3 entries, .* x must have shape \(batch, 3, \.\.\.\), got \(6, 2"):
        replace(attack, unit=(1, 1, 1))(network(), x, y)
    with pytest.raises(ValueError, match=r"weights must have shape \(6,\), got \(6, 1\)"):
        attack(network(), x, y, weights=torch.ones(6, 1))
    for weights in (None, torch.ones(6)):
        with pytest.raises(ValueError, match=r"one value per sample, of shape \(6,\), got \(\); use reduction='none'"):
            attack(network(), x, y, F.cross_entropy, weights)
    with pytest.raises(TypeError, match="loss must be callable, got 'gce'"):
        attack(network(), x, y, "gce")


def test_attacks_are_frozen_hashable_and_comparable():
    assert PGD(0.1, steps=3) == PGD(0.1, steps=3) != PGD(0.1, steps=4)
    assert len({FGSM(0.1), FGSM(0.1), FGSM(0.2)}) == 2
    with pytest.raises(AttributeError):
        FGSM(0.1).eps = 0.2
