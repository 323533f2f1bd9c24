"""Small networks: multilayer perceptrons, and a residual network that trains on one CPU core."""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def perceptron(n_inputs: int, hidden: tuple[int, ...], n_classes: int) -> nn.Sequential:
    """Return a multilayer perceptron with ReLU activations.

    Parameters
    ----------
    n_inputs : int
        Values per sample.
    hidden : tuple of int
        Widths of the hidden layers.
    n_classes : int
        Number of classes.

    Returns
    -------
    nn.Sequential
        Maps inputs of shape (n, ...) with `n_inputs` values per sample to logits of shape (n, n_classes).
    """
    layers: list[nn.Module] = [nn.Flatten()]
    for width in hidden:
        layers += [nn.Linear(n_inputs, width), nn.ReLU()]
        n_inputs = width
    return nn.Sequential(*layers, nn.Linear(n_inputs, n_classes))


def paper_perceptron(n_classes: int = 10) -> nn.Sequential:
    """Return the perceptron that the paper trains on MNIST: 784-320-320-200-`n_classes`, ReLU, no biases.

    Initialised with Glorot's uniform distribution (Glorot and Bengio 2010), the default of TensorFlow, which the
    authors used. With torch's default, whose values are smaller, their small steps make no progress.

    Parameters
    ----------
    n_classes : int, default 10
        Number of classes, at least 2.

    Returns
    -------
    nn.Sequential
        Maps images of shape (n, 1, 28, 28), or (n, ...) with 784 values per sample, to logits of shape (n, n_classes).

    Raises
    ------
    ValueError
        `n_classes` is below 2.
    """
    _check_n_classes(n_classes)
    layers: list[nn.Module] = [nn.Flatten()]
    for n_in, n_out in ((784, 320), (320, 320), (320, 200), (200, n_classes)):
        linear = nn.Linear(n_in, n_out, bias=False)
        nn.init.xavier_uniform_(linear.weight)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def small_resnet(
    n_classes: int, width: int = 32, *, blocks: int | tuple[int, ...] = 1, stem_stride: int = 2
) -> nn.Sequential:
    """Return a residual network for images of 32 x 32 pixels, with 8 layers by default.

    A 3 x 3 convolution; three stages of residual blocks with `width`, 2 `width` and 4 `width` channels, the second and
    the third at half the resolution of the previous stage; global average pooling; a linear layer. With a stem stride
    of 2 the stages run at 16, 8 and 4 pixels, at a quarter of the cost of 32, 16 and 8, so that a CPU can afford more
    channels. ``small_resnet(10, 64, blocks=(2, 2, 2, 2), stem_stride=1)`` is the ResNet-18 for CIFAR that papers use.
    Suited to bfloat16 autocast and channels-last memory::

        net = small_resnet(10).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(x)

    Parameters
    ----------
    n_classes : int
        Number of classes, at least 2.
    width : int, default 32
        Channels of the first stage, at least 1.
    blocks : int or tuple of int, default 1
        Residual blocks per stage, at least 1; a tuple has the number of each stage. The network has two layers per
        block, and two more.
    stem_stride : {1, 2}
        Stride of the first convolution.

    Returns
    -------
    nn.Sequential
        Maps images of shape (n, 3, H, W) to logits of shape (n, n_classes), float32 also under autocast. Designed for
        H = W = 32; any size of at least 1 works.

    Raises
    ------
    ValueError
        An argument is outside its range.

    Notes
    -----
    Don't train a `width` below 16 in channels-last memory on CPUs: PyTorch 2.13.0's gradient of a strided 1 x 1
    convolution with fewer than 16 input channels then writes beyond its memory for an odd number of images and two or
    more threads, which may abort the process.
    """
    _check_n_classes(n_classes)
    layers, n_features = _residual_layers(width, blocks, stem_stride)
    return nn.Sequential(layers | {"head": _Head(n_features, n_classes)})


def residual_features(width: int = 32, *, blocks: int | tuple[int, ...] = 1, stem_stride: int = 2) -> nn.Sequential:
    """Return `small_resnet` without its linear layer, as the backbone of a network with several heads.

    Parameters
    ----------
    width, blocks, stem_stride
        See `small_resnet`.

    Returns
    -------
    nn.Sequential
        Maps images of shape (n, 3, H, W) to features of shape (n, n_features), float32 also under autocast: 4 `width`
        for three stages, and twice as many with each further stage.

    Raises
    ------
    ValueError
        An argument is outside its range.
    """
    layers, _ = _residual_layers(width, blocks, stem_stride)
    return nn.Sequential(layers | {"pool": _Pool()})


def _residual_layers(
    width: int, blocks: int | tuple[int, ...], stem_stride: int
) -> tuple[OrderedDict[str, nn.Module], int]:
    """Return the layers before the pooling, and the number of their features."""
    if width < 1:
        raise ValueError(f"width must be at least 1, got {width}")
    stages = (blocks,) * 3 if isinstance(blocks, int) else tuple(blocks)
    if not stages or min(stages) < 1:
        raise ValueError(f"blocks must be at least 1, got {blocks}")
    if stem_stride not in (1, 2):
        raise ValueError(f"stem_stride must be 1 or 2, got {stem_stride}")
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        stem=nn.Conv2d(3, width, 3, stride=stem_stride, padding=1, bias=False),
        norm=nn.BatchNorm2d(width),
        relu=nn.ReLU(inplace=True),
    )
    channels = width
    for stage, n_blocks in enumerate(stages):
        for block in range(n_blocks):
            halves = stage > 0 and block == 0
            stride = 2 if halves else 1
            layers[f"block{stage + 1}_{block + 1}"] = _ResidualBlock(channels, width << stage, stride)
            channels = width << stage
    return layers, channels


class _ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut connection (He et al. 2016)."""

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


class _Pool(nn.Module):
    """Global average pooling, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3))


class _Head(nn.Module):
    """Global average pooling and a linear layer, in float32."""

    def __init__(self, n_in: int, n_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        # Losses are compared with one another, and bfloat16 has only two to three significant digits.
        with torch.autocast(x.device.type, enabled=False):
            return cast("Tensor", self.linear(x.float().mean((2, 3))))


def _check_n_classes(n_classes: int) -> None:
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
