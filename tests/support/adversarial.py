"""Attacks, networks and images for the tests of adversarial training."""

from __future__ import annotations

import torch
from torch import nn

from rrm_torch.adversarial.attacks import FGSM, PGD

K = 3
CHANNELS = 2
EVERY_ATTACK = {
    "fgsm": FGSM(0.2),
    "linf": PGD(0.2, steps=4),
    "linf from x": PGD(0.2, steps=4, random_start=False),
    "l2": PGD(0.2, steps=4, norm="l2"),
    "l2 from x": PGD(0.2, steps=4, norm="l2", random_start=False),
}


def network(seed=0):
    """A small network whose output depends on its mode: dropout and batch norm, with one frozen layer."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(CHANNELS, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(36, K)
    )
    model.append(nn.BatchNorm1d(K))
    model[1].eval()
    return model


def images(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, CHANNELS, 5, 5, generator=generator), torch.arange(n) % K


def seeded(attack, model, x, y, *arguments, **options):
    torch.manual_seed(5)
    return attack(model, x, y, *arguments, **options)


def distance(attack, points, x):
    """Size of each sample's perturbation, in units of eps."""
    delta = (points - x).double() / torch.tensor(attack.unit).reshape(-1, 1, 1)
    return delta.flatten(1).norm(dim=1) if getattr(attack, "norm", "linf") == "l2" else delta.flatten(1).abs().amax(1)


def linear(weight):
    """Linear model with the logits 0 and weight @ x."""
    model = nn.Linear(len(weight), 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.stack([torch.zeros(len(weight)), torch.tensor(weight)]))
    return model
