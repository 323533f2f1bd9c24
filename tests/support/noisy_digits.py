"""Handwritten digits with wrong labels, and a small network, for the tests of integrations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn


class NoisyDigits(NamedTuple):
    """Images in [0, 1], shape (n, 64), their labels, and which of these are wrong."""

    x: Tensor
    y: Tensor
    is_wrong: Tensor


def noisy_digits(n: int, *, share: float = 0.3, seed: int = 0) -> NoisyDigits:
    """Return n digits; of each label, a share is replaced by one of the nine others."""
    images, labels = load_digits(return_X_y=True)
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(images), generator=generator)[:n]
    y = torch.from_numpy(labels)[chosen].long()
    is_wrong = torch.rand(n, generator=generator) < share
    offset = torch.randint(1, 10, (n,), generator=generator)
    y = torch.where(is_wrong, (y + offset) % 10, y)
    return NoisyDigits(torch.from_numpy(images)[chosen].float() / 16, y, is_wrong)


def make_network(seed: int = 0) -> nn.Sequential:
    """Return a network for the digits, with the same weights for the same seed."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
