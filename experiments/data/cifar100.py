"""CIFAR-100, from its Python pickles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rrm_torch.data.memory_limit import check_max_bytes

from .arrays import check_labels
from .cifar_batches import check_files, check_pixels, read_batch

FILES = ("train", "test", "meta")
ORIGIN = "cifar-100-python in cifar-100-python.tar.gz"

N_CLASSES = 100
N_COARSE = 20


@dataclass(frozen=True, eq=False)
class Cifar100:
    """CIFAR-100 as bytes: about 180 MB (Krizhevsky 2009).

    Attributes
    ----------
    x_train, x_test : torch.Tensor of uint8, shape (n, 3, 32, 32)
        Images; channels red, green and blue.
    y_train, y_test : torch.Tensor of int64, shape (n,)
        Labels of the 100 classes, the fine labels.
    coarse_train, coarse_test : torch.Tensor of int64, shape (n,)
        Labels of the 20 superclasses, the coarse labels.
    classes, coarse_classes : tuple of str
        Names of the classes and of the superclasses.
    """

    x_train: Tensor
    y_train: Tensor
    coarse_train: Tensor
    x_test: Tensor
    y_test: Tensor
    coarse_test: Tensor
    classes: tuple[str, ...]
    coarse_classes: tuple[str, ...]


def load_cifar100(path: str | Path, max_bytes: int | None = None) -> Cifar100:
    """Load CIFAR-100 from its folder of pickles.

    Parameters
    ----------
    path : str or Path
        The folder cifar-100-python from cifar-100-python.tar.gz, which torchvision extracts as well, with the files
        train, test and meta.
    max_bytes : int, optional
        Bytes that the files may take together; by default a quarter of this machine's memory.

    Returns
    -------
    Cifar100

    Raises
    ------
    FileNotFoundError
        If `path` or one of the files doesn't exist.
    ValueError
        If a file is damaged or too large, or images and labels do not match.
    TypeError
        If an array is of another type.

    Notes
    -----
    The files are pickles. Only the names that a pickled array needs are looked up; a file that refers to any other name
    is rejected before it can run code.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing folder; it must be {ORIGIN}")
    check_files(folder, FILES, ORIGIN, check_max_bytes(max_bytes))
    parts = {}
    for part in ("train", "test"):
        file = folder / part
        batch = read_batch(file, "a part of CIFAR-100", (b"data", b"fine_labels", b"coarse_labels"))
        pixels = check_pixels(file, batch[b"data"])
        parts[f"x_{part}"] = torch.from_numpy(pixels)
        for name, key, n_classes in (("y", "fine_labels", N_CLASSES), ("coarse", "coarse_labels", N_COARSE)):
            parts[f"{name}_{part}"] = check_labels(f"{file}: b'{key}'", batch[key.encode()], n_classes, len(pixels))
    names = read_batch(folder / "meta", "the names of CIFAR-100", (b"fine_label_names", b"coarse_label_names"))
    return Cifar100(
        **parts,
        classes=_class_names(folder / "meta", names, b"fine_label_names", N_CLASSES),
        coarse_classes=_class_names(folder / "meta", names, b"coarse_label_names", N_COARSE),
    )


def _class_names(path: Path, names: dict[bytes, Any], key: bytes, n_classes: int) -> tuple[str, ...]:
    """Return the names of the classes, which Python 2 wrote as bytes."""
    values = names[key]
    if not isinstance(values, list) or len(values) != n_classes or not all(isinstance(name, bytes) for name in values):
        raise ValueError(f"{path}: {key!r} must be a list of {n_classes} names in bytes, got {values!r:.80}")
    return tuple(name.decode("latin1") for name in values)
