"""PathMNIST and PneumoniaMNIST, medical images of 28x28 pixels (Yang et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrm_torch.data.npz import read_npz

from .arrays import check_labels

PARTS = ("train", "val", "test")
KEYS = tuple(f"{part}_{noun}" for part in PARTS for noun in ("images", "labels"))

CLASSES = {
    "pathmnist": (
        "adipose",
        "background",
        "debris",
        "lymphocytes",
        "mucus",
        "smooth muscle",
        "normal colon mucosa",
        "cancer-associated stroma",
        "colorectal adenocarcinoma epithelium",
    ),
    "pneumoniamnist": ("normal", "pneumonia"),
}
"""Names of the classes by the name of the file, in the order of the labels."""

SHAPES = {"pathmnist": (28, 28, 3), "pneumoniamnist": (28, 28)}
"""Shape of an image in the file."""


@dataclass(frozen=True, eq=False)
class MedMnist:
    """A data set of MedMNIST as bytes.

    Attributes
    ----------
    x_train, x_val, x_test : torch.Tensor of uint8, shape (n, C, 28, 28)
        Images; the three channels of PathMNIST are red, green and blue, and PneumoniaMNIST has one.
    y_train, y_val, y_test : torch.Tensor of int64, shape (n,)
        Labels in [0, len(classes)).
    classes : tuple of str
        Names of the classes.
    """

    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]


def load_medmnist(path: str | Path, max_bytes: int | None = None) -> MedMnist:
    """Load PathMNIST or PneumoniaMNIST.

    Parameters
    ----------
    path : str or Path
        pathmnist.npz or pneumoniamnist.npz, which the name tells apart, with the arrays train_images, train_labels,
        val_images, val_labels, test_images and test_labels: images of uint8 of shape (n, 28, 28, 3) or (n, 28, 28),
        and integer labels of shape (n, 1).
    max_bytes : int, optional
        Bytes that the arrays may take together; by default a quarter of this machine's memory.

    Returns
    -------
    MedMnist

    Raises
    ------
    FileNotFoundError
        The file doesn't exist.
    ValueError
        It has another name, is damaged or too large, lacks an array, or an array has another shape or labels that are
        out of range.
    TypeError
        An array has another type.
    """
    path = Path(path)
    if path.stem not in CLASSES:
        raise ValueError(f"path must be a file {' or '.join(f'{name}.npz' for name in CLASSES)}, got {str(path)!r}")
    if not path.is_file():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing file")
    arrays, names = read_npz(path, KEYS, max_bytes)
    if missing := [key for key in KEYS if key not in arrays]:
        raise ValueError(f"{path} must hold the arrays {', '.join(missing)}; found {', '.join(names) or 'none'}")
    classes = CLASSES[path.stem]
    parts = {}
    for part in PARTS:
        images = _check_images(f"{path}: {part}_images", arrays[f"{part}_images"], SHAPES[path.stem])
        parts[f"x_{part}"] = images
        parts[f"y_{part}"] = _check_column(
            f"{path}: {part}_labels", arrays[f"{part}_labels"], len(classes), len(images)
        )
    return MedMnist(**parts, classes=classes)


def _check_images(name: str, images: npt.NDArray[Any], shape: tuple[int, ...]) -> Tensor:
    """Return images with the channels first."""
    if images.dtype != np.uint8:
        raise TypeError(f"{name} must be uint8, got {images.dtype}")
    if images.shape[1:] != shape:
        expected = ", ".join(map(str, ("n", *shape)))
        raise ValueError(f"{name} must have shape ({expected}), got {images.shape}")
    if images.ndim == 3:
        return torch.from_numpy(images)[:, None]
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _check_column(name: str, labels: npt.NDArray[Any], n_classes: int, n: int) -> Tensor:
    """Return the labels of a column."""
    if labels.ndim != 2 or labels.shape[1] != 1:
        raise ValueError(f"{name} must have shape (n, 1), one label per image, got {labels.shape}")
    return check_labels(name, labels[:, 0], n_classes, n)
