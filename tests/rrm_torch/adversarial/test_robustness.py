from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.testing import assert_close

from rrm_torch import batches, evaluate
from rrm_torch.adversarial.attacks import FGSM, PGD, robustness
from rrm_torch.losses.per_sample import cross_entropy
from support.adversarial import EVERY_ATTACK, K, images, network

every_attack = pytest.mark.parametrize("attack", EVERY_ATTACK.values(), ids=EVERY_ATTACK)


@pytest.fixture(scope="module")
def blobs():
    """Three overlapping clouds in the plane, their labels, and a model trained on them."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % K
    x = torch.tensor([[0.0, 2.0], [2.0, -2.0], [-2.0, -2.0]])[y] + torch.randn(300, 2, generator=generator)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, K))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return x, y, model


def test_more_steps_increase_the_loss(blobs):
    x, y, model = blobs
    losses = [
        cross_entropy(model(attack(model, x, y)), y).mean().item()
        for attack in (FGSM(0), PGD(0.5, steps=1, step_size=0.1, random_start=False), PGD(0.5, random_start=False))
    ]
    assert losses == sorted(losses)
    assert losses[2] > 2 * losses[0]


@every_attack
def test_accuracy_falls_with_eps(blobs, attack):
    x, y, model = blobs
    sizes = [0, 0.25, 0.5, 1, 2, 4]
    actual = robustness(model, batches(x, y, 64, shuffle=False), attack, sizes)
    assert list(actual) == sizes
    accuracies = list(actual.values())
    assert accuracies[0] == evaluate(model, batches(x, y, 64, shuffle=False)) > 0.9
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[-1] < 0.2


@every_attack
def test_robustness_at_one_eps_does_not_depend_on_the_others(blobs, attack):
    x, y, model = blobs
    together = robustness(model, batches(x, y, 64, shuffle=False), attack, [0.5, 0, 0.75, 0.25])
    for size, accuracy in together.items():
        assert robustness(model, batches(x, y, 64, shuffle=False), attack, [size]) == {size: accuracy}


@every_attack
def test_robustness_by_hand(blobs, attack):
    x, y, model = blobs

    def negative_loss(outputs, y):
        return -cross_entropy(outputs, y)

    actual = robustness(model, [(x, y)], attack, [0.7], seed=3, loss=negative_loss)
    generator = torch.Generator().manual_seed(3)
    points = replace(attack, eps=0.7)(model, x, y, negative_loss, generator=generator)
    assert actual == {0.7: (model(points).argmax(1) == y).sum().item() / 300}
    assert actual[0.7] >= evaluate(model, [(x, y)])


def test_robustness_leaves_model_and_global_generator_unchanged():
    model = network()
    modes = [module.training for module in model.modules()]
    before = copy.deepcopy(model.state_dict())
    x, y = images()
    state = torch.get_rng_state()
    actual = robustness(model, iter([(x, y)]), PGD(0.1, model_mode="train"), [0, 0.1])
    assert list(actual) == [0, 0.1]
    assert_close(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_robustness_rejects_empty_loader_and_bad_eps():
    with pytest.raises(ValueError, match="loader yields no batch"):
        robustness(network(), [], FGSM(0.1), [0.1])
    with pytest.raises(ValueError, match="eps must be finite and at least 0, got -1"):
        robustness(network(), [images()], FGSM(0.1), [-1])
