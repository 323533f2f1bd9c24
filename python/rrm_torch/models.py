"""The models of the experiments: the paper's perceptron, and a residual net small enough for one CPU core."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def perceptron_of_the_authors(n_classes: int = 10) -> nn.Sequential:
    """Return the perceptron that the paper trains on MNIST: 784-320-320-200-`n_classes`, ReLU, no biases.

    Initialised as TensorFlow does (Glorot and Bengio 2010), which the authors used: with torch's smaller numbers, their
    small steps get nowhere.

    Parameters
    ----------
    n_classes : int, default 10
        Number of classes, at least 2.

    Returns
    -------
    nn.Sequential
        Maps images of shape (n, 1, 28, 28), or (n, ...) with 784 values each, to logits of shape (n, n_classes).

    Raises
    ------
    ValueError
        If `n_classes` is below 2.
    """
    _check_classes(n_classes)
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in ((784, 320), (320, 320), (320, 200), (200, n_classes)):
        linear = nn.Linear(n_in, n_out, bias=False)
        nn.init.xavier_uniform_(linear.weight)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def small_resnet(n_classes: int, width: int = 32, *, blocks: int = 1, stem_stride: int = 2) -> nn.Sequential:
    """Return a residual net for images of 32 x 32 pixels; of 8 layers as it stands.

    A 3 x 3 convolution, three stages of residual blocks with `width`, twice and four times as many channels, the second
    and the third at half the resolution of the one before, the mean over the image, and a linear layer. With the stem's
    stride of 2 the stages work at 16, 8 and 4 pixels, which costs a quarter of 32, 16 and 8 and leaves a CPU time for
    more channels. Written for bfloat16 autocast and channels-last memory::

        net = small_resnet(10).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    width : int, default 32
        Channels of the first stage, at least 1.
    blocks : int, default 1
        Residual blocks per stage, at least 1. The net has ``6 * blocks + 2`` layers.
    stem_stride : {1, 2}
        Stride of the first convolution.

    Returns
    -------
    nn.Sequential
        Maps images of shape (n, 3, H, W) to logits of shape (n, n_classes), float32 also under autocast. H and W are
        meant to be 32, and anything from 1 on is computed.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    """
    _check_classes(n_classes)
    for name, value in (("width", width), ("blocks", blocks)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride must be 1 or 2, got {stem_stride}")
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(3, width, 3, stride=stem_stride, padding=1, bias=False),
        norm=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )
    channels = width
    for stage in range(3):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers[f"block{stage + 1}_{block + 1}"] = _Block(channels, width << stage, stride)
            channels = width << stage
    return nn.Sequential(layers | {"head": _Head(channels, n_classes)})


class _Block(nn.Module):
    """Two 3 x 3 convolutions around which the input is added again (He et al. 2016)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(n_out)
        self.second = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            projection = nn.Conv2d(n_in, n_out, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.first_norm(self.first(x)), inplace=True)
        y = self.second_norm(self.second(y))
        return F.relu(y + self.shortcut(x), inplace=True)


class _Head(nn.Module):
    """The mean over the image, and a linear layer."""

    def __init__(self, n_in: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        # In float32: losses are compared with one another, and bfloat16 keeps between two and three digits.
        with torch.autocast(x.device.type, enabled=False):
            return cast("Tensor", self.linear(x.float().mean((2, 3))))


def _check_classes(n_classes: int) -> None:
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
