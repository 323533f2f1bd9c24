"""Networks and tensors given by formulas, for tests that compare with recorded numbers."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

N_CHANNELS = 4
N_CLASSES = 5

Network = TypeVar("Network", bound=nn.Module)


def fill(shape: int | tuple[int, ...], s: float, scale: float = 1.0) -> Tensor:
    """Return ``scale * sin(0.7368 * i + s)`` of the flat index i, computed in float64: float32, of a shape."""
    shape = (shape,) if isinstance(shape, int) else shape
    positions = torch.arange(math.prod(shape), dtype=torch.float64)
    return (torch.sin(0.7368 * positions + s) * scale).float().reshape(shape)


class SmallBackbone(nn.Module):
    """A convolution, batch norm, ReLU and the mean over the image: 4 features of images with 3 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, N_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(N_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.convolution(x)).relu().mean((2, 3))


class TwoHeads(nn.Module):
    """A backbone with two linear heads, whose outputs it returns as a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = SmallBackbone()
        self.first = nn.Linear(N_CHANNELS, N_CLASSES)
        self.second = nn.Linear(N_CHANNELS, N_CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(x)
        return self.first(features), self.second(features)


def small_network(heads: int = 1) -> nn.Module:
    """Return a network of 5 classes for images with 3 channels; with two heads it returns two outputs."""
    if heads == 2:
        return TwoHeads()
    return nn.Sequential(SmallBackbone(), nn.Linear(N_CHANNELS, N_CLASSES))


def filled(network: Network, s: float, shifted: int | None = 2) -> Network:
    """Set parameter number i of a network to ``fill(shape, s + i, 0.5)``, plus 1 for number `shifted`; return it."""
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.copy_(fill(tuple(parameter.shape), s + i, 0.5))
            if i == shifted:
                parameter.add_(1)
    return network
