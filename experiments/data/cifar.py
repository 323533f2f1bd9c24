"""CIFAR-10, from its Python batches or from JPEG streams."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrm_torch.data.memory_limit import check_max_bytes, refuse_too_large
from rrm_torch.data.npz import read_npz

from .arrays import check_labels
from .cifar_batches import SHAPE, check_files, check_pixels, read_batch

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The ten classes of CIFAR-10, in the order of its labels (Krizhevsky 2009)."""

TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)
ORIGIN = "cifar-10-batches-py in cifar-10-python.tar.gz"

JPEG_KEYS = ("jpg_train", "off_train", "y_train", "jpg_test", "off_test", "y_test", "classes")


@dataclass(frozen=True, eq=False)
class Cifar:
    """CIFAR-10 as bytes: about 180 MB, a quarter of the size as floats.

    Attributes
    ----------
    x_train, x_test : torch.Tensor of uint8, shape (n, 3, 32, 32)
        Images; channels red, green and blue.
    y_train, y_test : torch.Tensor of int64, shape (n,)
        Labels in [0, len(classes)).
    classes : tuple of str
        Names of the classes.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]


def load_cifar10(path: str | Path, max_bytes: int | None = None) -> Cifar:
    """Load CIFAR-10 from its folder of Python batches, or from a file of JPEG streams.

    Parameters
    ----------
    path : str or Path
        The folder cifar-10-batches-py from cifar-10-python.tar.gz, which torchvision extracts as well; or a .npz file
        of JPEG streams, which needs Pillow, with the arrays jpg_train and jpg_test, uint8, the concatenated JPEG files;
        off_train and off_test, integers of shape (n + 1,), their offsets; y_train and y_test, integers of shape (n,);
        and classes, strings.
    max_bytes : int, optional
        Bytes that the files may take, the arrays in them, and the decoded images, each together; by default a quarter
        of this machine's memory.

    Returns
    -------
    Cifar

    Raises
    ------
    FileNotFoundError
        If `path` or one of the folder's files doesn't exist.
    ValueError
        If a file is damaged or too large, or images and labels do not match.
    TypeError
        If an array is of another type.
    ImportError
        If there are JPEG streams to decode and Pillow isn't installed.

    Notes
    -----
    The files of the folder are pickles. Only the names that a pickled array needs are looked up; a file that refers to
    any other name is rejected before it can run code.
    """
    path = Path(path)
    limit = check_max_bytes(max_bytes)
    if path.is_dir():
        return _load_batches(path, limit)
    return _load_jpegs(path, limit)


def _load_batches(folder: Path, limit: int) -> Cifar:
    """Load the folder of Python batches."""
    check_files(folder, (*TRAIN_BATCHES, *TEST_BATCHES), ORIGIN, limit)
    parts = {}
    for part, names in (("train", TRAIN_BATCHES), ("test", TEST_BATCHES)):
        pixels, labels = zip(*(_read_batch(folder / name) for name in names), strict=True)
        parts[f"x_{part}"] = torch.from_numpy(np.concatenate(pixels))
        parts[f"y_{part}"] = torch.cat(labels)
    return Cifar(**parts, classes=CLASSES)


def _read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], Tensor]:
    """Read one pickled batch: images of shape (n, 3, 32, 32), and labels."""
    batch = read_batch(path, "a batch of CIFAR-10", (b"data", b"labels"))
    pixels = check_pixels(path, batch[b"data"])
    return pixels, check_labels(f"{path}: b'labels'", batch[b"labels"], len(CLASSES), len(pixels))


def _load_jpegs(path: Path, limit: int) -> Cifar:
    """Load the .npz file of JPEG streams."""
    if not path.is_file():
        raise FileNotFoundError(
            f"path {str(path)!r} doesn't exist; it must be the folder cifar-10-batches-py or a .npz file of JPEGs"
        )
    arrays, _ = read_npz(path, JPEG_KEYS, limit)
    if missing := [key for key in JPEG_KEYS if key not in arrays]:
        raise ValueError(
            f"{path} must hold the arrays {', '.join(missing)}; found {', '.join(arrays) or 'none of them'}"
        )
    classes = arrays["classes"]
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise TypeError(f"{path}: classes must be a 1-D array of strings, got {classes.dtype} {classes.shape}")
    parts = {}
    for part in ("train", "test"):
        offsets = _check_offsets(path, part, arrays[f"jpg_{part}"], arrays[f"off_{part}"])
        n = len(offsets) - 1
        refuse_too_large(f"{path}: jpg_{part}", n * math.prod(SHAPE), limit)
        parts[f"y_{part}"] = check_labels(f"{path}: y_{part}", arrays[f"y_{part}"], len(classes), n)
        pixels = _decode(f"{path}: jpg_{part}", arrays[f"jpg_{part}"].tobytes(), offsets.tolist())
        parts[f"x_{part}"] = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return Cifar(**parts, classes=tuple(str(name) for name in classes))


def _check_offsets(
    path: Path, part: str, streams: npt.NDArray[Any], offsets: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return the offsets of the JPEG files of a part as int64, in which the difference of unsigned ones cannot wrap."""
    if streams.dtype != np.uint8 or offsets.dtype.kind not in "iu":
        raise TypeError(
            f"{path}: jpg_{part} must be uint8 and off_{part} integers, got {streams.dtype} and {offsets.dtype}"
        )
    bounds = offsets.astype(np.int64)
    if streams.ndim != 1 or bounds.ndim != 1 or len(bounds) < 2 or bounds[0] or bounds[-1] != len(streams):
        raise ValueError(
            f"{path}: off_{part} must run from 0 to the length of jpg_{part}, in one dimension each; "
            f"got shapes {offsets.shape} and {streams.shape}"
        )
    if (np.diff(bounds) < 0).any():
        raise ValueError(f"{path}: off_{part} must ascend, got a smaller one after a larger one")
    return bounds


def _decode(name: str, content: bytes, bounds: list[int]) -> npt.NDArray[np.uint8]:
    """Decode the JPEG files between `bounds`, to shape (n, 32, 32, 3)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(f"{name} needs Pillow: pip install pillow; cifar-10-batches-py does without") from error
    _, height, width = SHAPE
    pixels = np.empty((len(bounds) - 1, height, width, 3), np.uint8)
    index = 0
    try:
        for index, (start, end) in enumerate(pairwise(bounds)):
            with Image.open(io.BytesIO(content[start:end]), formats=("JPEG",)) as image:
                if image.size != (width, height):  # checked before decoding: a header may state any size
                    raise ValueError(f"it has {image.width}x{image.height} pixels, not {width}x{height}")
                pixels[index] = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} can't be decoded at index {index}: {error}") from error
    return pixels
