"""The networks of the recipes, by name; those of torchvision and timm are imported only when one is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor, nn

from rrm_torch.losses.targets import full_precision
from rrm_torch.models import perceptron, residual_features

SMALL_WIDTH = 16
"""Channels of the quick versions' network. `small_resnet` says why there aren't fewer in this layout."""
HIDDEN = (256, 256)


class Classifier(nn.Module):
    """A backbone and a linear layer, which runs in float32 under autocast: losses are compared with one another.

    Parameters
    ----------
    backbone : nn.Module
        Returns features of shape (batch, n_features).
    n_features, n_classes : int
    """

    def __init__(self, backbone: nn.Module, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.linear = nn.Linear(n_features, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (batch, n_classes)."""
        features = full_precision(cast("Tensor", self.backbone(x)))
        with torch.autocast(features.device.type, enabled=False):
            return cast("Tensor", self.linear(features))


def device() -> torch.device:
    """Return the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_network(name: str, n_inputs: int, n_classes: int) -> nn.Module:
    """Return a classifier on `device`.

    Parameters
    ----------
    name : str
        ``"perceptron"``, or one of `BACKBONES`.
    n_inputs : int
        Values per sample, which a perceptron needs.
    n_classes : int

    Raises
    ------
    ValueError
        There is no network of that name, or the package that it comes from is missing.
    """
    if name == "perceptron":
        return perceptron(n_inputs, HIDDEN, n_classes).to(device())
    backbone, n_features = make_backbone(name)
    return Classifier(backbone, n_features, n_classes).to(device())


def make_backbone(name: str) -> tuple[nn.Module, int]:
    """Return a network without its last layer, on `device`, and the number of its features.

    Parameters
    ----------
    name : str
        One of `BACKBONES`.

    Raises
    ------
    ValueError
        As `make_network` does.
    """
    if name not in BACKBONES:
        raise ValueError(f"network must be perceptron or one of {', '.join(BACKBONES)}, got {name!r}")
    backbone, n_features = BACKBONES[name]()
    # Convolutions in bfloat16 are several times faster in this layout.
    backbone = backbone.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    return backbone, n_features


def _small() -> tuple[nn.Module, int]:
    return residual_features(SMALL_WIDTH), 4 * SMALL_WIDTH


def _cifar_resnet18() -> tuple[nn.Module, int]:
    return residual_features(64, blocks=(2, 2, 2, 2), stem_stride=1), 512


def _cifar_resnet34() -> tuple[nn.Module, int]:
    return residual_features(64, blocks=(3, 4, 6, 3), stem_stride=1), 512


def _resnet50() -> tuple[nn.Module, int]:
    """ResNet-50 with the weights that torchvision trained on ImageNet, which it downloads."""
    models = _import("torchvision.models", "resnet50")
    network = models.resnet50(weights=models.ResNet50_Weights.IMAGENET1K_V1)
    network.fc = nn.Identity()
    return network, 2048


def _vgg19() -> tuple[nn.Module, int]:
    """VGG-19 with batch norm, untrained."""
    network = _import("torchvision.models", "vgg19").vgg19_bn(weights=None)
    network.classifier[-1] = nn.Identity()
    return network, 4096


def _inception_resnet_v2() -> tuple[nn.Module, int]:
    """Inception-ResNet v2, untrained."""
    return _import("timm", "inception-resnet-v2").create_model(
        "inception_resnet_v2", pretrained=False, num_classes=0
    ), 1536


BACKBONES: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "small": _small,
    "cifar-resnet18": _cifar_resnet18,
    "cifar-resnet34": _cifar_resnet34,
    "resnet50": _resnet50,
    "vgg19": _vgg19,
    "inception-resnet-v2": _inception_resnet_v2,
}
"""Functions that return a backbone and the number of its features, by name."""


def _import(module: str, network: str) -> Any:
    try:
        return import_module(module)
    # torchvision raises a RuntimeError beside a torch that it wasn't built for.
    except (ImportError, RuntimeError) as error:
        package = module.partition(".")[0]
        raise ValueError(
            f"network {network!r} needs {package}, which can't be imported: {error}; pip install the {package} that "
            f"fits torch {torch.__version__}"
        ) from error
