"""Animal-10N, images of five pairs of similar animals with labels of people who mistook them (Song et al. 2019)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrm_torch.data.memory_limit import check_max_bytes, refuse_too_large

from .arrays import check_labels
from .class_folders import list_images
from .image_lists import LabelledFiles, labelled_files

CLASSES = (
    "cat",
    "lynx",
    "wolf",
    "coyote",
    "cheetah",
    "jaguar",
    "chimpanzee",
    "orangutan",
    "hamster",
    "guinea pig",
)
"""The ten classes, in the order of their labels; each pair of neighbours is similar."""

SHAPE = (3, 64, 64)

RECORD = np.dtype([("id", ">u4"), ("label", ">u4"), ("pixels", np.uint8, SHAPE)])
"""An image of the binary form: its number and its label, the most significant byte first, and the channels."""


@dataclass(frozen=True, eq=False)
class Animal10N:
    """The files of Animal-10N.

    Attributes
    ----------
    train : LabelledFiles
        50,000 images of 64x64 pixels, with labels of which about 8% are wrong.
    test : LabelledFiles
        5,000 images with checked labels.
    classes : tuple of str, length 10
        Names of the classes.
    """

    train: LabelledFiles
    test: LabelledFiles
    classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Animal10NPixels:
    """Animal-10N as bytes: about 680 MB.

    Attributes
    ----------
    x_train, x_test : torch.Tensor of uint8, shape (n, 3, 64, 64)
        Images; channels red, green and blue.
    y_train, y_test : torch.Tensor of int64, shape (n,)
        Labels in [0, 10).
    classes : tuple of str, length 10
        Names of the classes.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]


def load_animal10n(path: str | Path) -> Animal10N:
    """Load Animal-10N from its image files.

    Parameters
    ----------
    path : str or Path
        The folder from raw_image.zip, with the folders training and testing. Their files begin with the label, such as
        3_1024.jpg.

    Returns
    -------
    Animal10N
        The images, sorted by name, aren't opened.

    Raises
    ------
    FileNotFoundError
        A folder doesn't exist.
    ValueError
        A folder has no images, or the name of one doesn't begin with a label in [0, 10) and an underscore.
    """
    folder = Path(path)
    return Animal10N(_read_folder(folder / "training"), _read_folder(folder / "testing"), CLASSES)


def load_animal10n_binary(path: str | Path, max_bytes: int | None = None) -> Animal10NPixels:
    """Load Animal-10N from its binary form.

    Parameters
    ----------
    path : str or Path
        The folder with data_batch_1.bin and test_batch.bin.
    max_bytes : int, optional
        Bytes that the files may take together; by default a quarter of this machine's memory.

    Returns
    -------
    Animal10NPixels

    Raises
    ------
    FileNotFoundError
        A file doesn't exist.
    ValueError
        A file is too large, empty or not a multiple of 12,296 bytes long, or a label isn't in [0, 10).
    """
    files = [Path(path) / name for name in ("data_batch_1.bin", "test_batch.bin")]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"folder {str(path)!r} must hold {file.name}; it is that of Animal-10N's binary form"
            )
    refuse_too_large(str(path), sum(file.stat().st_size for file in files), check_max_bytes(max_bytes))
    x_train, y_train = _read_records(files[0])
    x_test, y_test = _read_records(files[1])
    return Animal10NPixels(x_train, y_train, x_test, y_test, CLASSES)


def _read_folder(folder: Path) -> LabelledFiles:
    names = list_images(folder)
    labels = []
    for name in names:
        match = re.match(r"([0-9])_", name)
        if match is None:
            raise ValueError(
                f"{folder}: the name of an image must begin with a label in [0, {len(CLASSES)}) and an underscore, "
                f"got {name!r}"
            )
        labels.append(int(match[1]))
    return labelled_files(folder, names, labels)


def _read_records(path: Path) -> tuple[Tensor, Tensor]:
    n_bytes = path.stat().st_size
    if n_bytes == 0 or n_bytes % RECORD.itemsize:
        raise ValueError(
            f"{path} must have a multiple of {RECORD.itemsize:,} bytes, which an image and its label take, got "
            f"{n_bytes:,}"
        )
    records: npt.NDArray[np.void] = np.fromfile(path, RECORD)
    labels = check_labels(f"{path}: labels", records["label"], len(CLASSES))
    return torch.from_numpy(np.ascontiguousarray(records["pixels"])), labels
