"""MobileNetV2 (Sandler et al. 2018), whose state dict has the keys of torchvision's ``mobilenet_v2``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

N_FEATURES = 1280
N_CLASSES = 1000  # of ImageNet
MEAN = (0.485, 0.456, 0.406)
"""Mean of the colours of ImageNet, red, green and blue, where white is 1."""
STD = (0.229, 0.224, 0.225)
"""Their standard deviation."""


class Stage(NamedTuple):
    """Blocks with the same number of channels.

    Attributes
    ----------
    expansion : int
        Factor by which a block widens its input.
    n_out : int
        Channels that each block returns.
    blocks : int
    stride : int
        Stride of the first block; that of the others is 1.
    """

    expansion: int
    n_out: int
    blocks: int
    stride: int


# Table 2 of the paper.
STEM_WIDTH = 32
STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


def conv_norm_relu(n_in: int, n_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a convolution, batch normalisation, and a ReLU that is capped at 6."""
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """A block: expansion to more channels, a convolution of each channel, and a linear projection.

    Parameters
    ----------
    n_in, n_out : int
        Channels of the input and of the output. If they are equal and the stride is 1, the input is added.
    stride : int
    expansion : int
        Factor of the expansion; with 1 there is none.
    """

    def __init__(self, n_in: int, n_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = n_in * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers.append(conv_norm_relu(n_in, width))
        layers += [
            conv_norm_relu(width, width, kernel=3, stride=stride, groups=width),
            nn.Conv2d(width, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        ]
        self.conv = nn.Sequential(*layers)
        self.adds_input = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        """Return the output, shape (n, n_out, H / stride, W / stride), rounded up."""
        y: Tensor = self.conv(x)
        if self.adds_input:
            return x + y
        return y


class MobileNetV2(nn.Module):
    """MobileNetV2 for colour images.

    Parameters
    ----------
    n_classes : int, default 1000
    stages : sequence of Stage, default `STAGES`
    stem_width : int, default 32
        Channels of the first convolution.
    n_features : int, default 1280
        Channels of the last convolution.
    """

    def __init__(
        self,
        n_classes: int = N_CLASSES,
        stages: tuple[Stage, ...] = STAGES,
        stem_width: int = STEM_WIDTH,
        n_features: int = N_FEATURES,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm_relu(3, stem_width, kernel=3, stride=2)]
        channels = stem_width
        for stage in stages:
            for block in range(stage.blocks):
                stride = stage.stride if block == 0 else 1
                layers.append(InvertedResidual(channels, stage.n_out, stride, stage.expansion))
                channels = stage.n_out
        layers.append(conv_norm_relu(channels, n_features))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(n_features, n_classes))

    def embed(self, x: Tensor) -> Tensor:
        """Return the features, shape (n, n_features): the mean of the last convolution over the image.

        Parameters
        ----------
        x : Tensor, shape (n, 3, H, W)
            Images, standardised by `MEAN` and `STD`; trained with H = W = 224.
        """
        return self.features(x).mean((2, 3))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (n, n_classes), of images of shape (n, 3, H, W)."""
        logits: Tensor = self.classifier(self.embed(x))
        return logits


def load_mobilenet_v2(path: Path) -> MobileNetV2:
    """Return MobileNetV2 with the parameters of a file, in evaluation mode.

    Parameters
    ----------
    path : Path
        State dict of torchvision's ``mobilenet_v2``, as ``torch.save`` wrote it.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It isn't a state dict of this network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing file; it must be a state dict of mobilenet_v2")
    model = MobileNetV2()
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged pickle raises nearly any error; torch's message advises to load unsafely
        raise ValueError(
            f"{path} must be the state dict of torchvision's mobilenet_v2, which can't be loaded from it"
        ) from error
    return model.eval()
