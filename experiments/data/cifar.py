"""CIFAR-10, from its Python batches or from JPEG streams, and the human labels of CIFAR-10N."""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The ten classes of CIFAR-10, in the order of its labels (Krizhevsky 2009)."""

TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)

JPEG_KEYS = ("jpg_train", "off_train", "y_train", "jpg_test", "off_test", "y_test", "classes")

LABEL_KEYS = ("clean_label", "aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")
"""The label sets of CIFAR-10N (Wei et al. 2022): the true ones; the majority of three annotators; a wrong one of the
three wherever there is one; and each annotator's."""

SHAPE = (3, 32, 32)


@dataclass(frozen=True, eq=False)
class Cifar:
    """CIFAR-10 in bytes: about 180 MB, a quarter of what it takes in floats. `rrm_torch.augment` makes floats of it.

    Attributes
    ----------
    x_train, x_test : torch.Tensor of uint8, shape (n, 3, 32, 32)
        Images; channels red, green and blue.
    y_train, y_test : torch.Tensor of int64, shape (n,)
        Labels in [0, len(classes)).
    classes : tuple of str
        Name of each class.
    """

    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]


def load_cifar10(path: str | Path) -> Cifar:
    """Load CIFAR-10 from the folder or from the file that one has.

    Parameters
    ----------
    path : str or Path
        The folder cifar-10-batches-py out of cifar-10-python.tar.gz, as torchvision leaves it too; or a .npz file of
        JPEG streams, with the arrays jpg_train and jpg_test, uint8, all files of a part one after the other; off_train
        and off_test, integers of shape (n + 1,), where each begins and the last ends; y_train and y_test, integers of
        shape (n,); and classes, strings. These need Pillow.

    Returns
    -------
    Cifar

    Raises
    ------
    FileNotFoundError
        If `path` or one of the folder's files doesn't exist.
    ValueError
        If a file isn't what its name says, or images and labels don't fit together.
    TypeError
        If an array is of another type.
    ImportError
        If there are JPEG streams to decode and Pillow isn't installed.

    Notes
    -----
    The folder's files are pickles. They are read with only what an array of bytes needs; a file that asks for anything
    else is refused before it can run it.
    """
    path = Path(path)
    if path.is_dir():
        return _load_batches(path)
    return _load_jpegs(path)


def load_cifar_n(path: str | Path) -> dict[str, Tensor]:
    """Load the human labels of CIFAR-10N.

    Parameters
    ----------
    path : str or Path
        CIFAR-10_human.pt, as its authors distribute it, or a .npz file with the same arrays.

    Returns
    -------
    dict of str to torch.Tensor of int64, shape (n,)
        Labels in [0, 10) by name: clean_label, aggre_label, worse_label, random_label1, random_label2, random_label3.
        Their order is that of CIFAR-10; `check_order` makes sure.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file isn't sound, labels are missing or out of range, or their numbers differ.
    TypeError
        If labels aren't integers.
    RuntimeError
        If it is a .pt file and PyTorch is older than 2.6.

    Notes
    -----
    A .pt file is a pickle. It is read with ``weights_only=True``, allowing NumPy's arrays and nothing else, so that it
    can't run code.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing file; CIFAR-10N comes as CIFAR-10_human.pt")
    held: Mapping[str, Any] = _read_npz(path, LABEL_KEYS) if path.suffix == ".npz" else _read_pt(path)
    if missing := [key for key in LABEL_KEYS if key not in held]:
        raise ValueError(
            f"{path} must hold the labels {', '.join(missing)}; found {', '.join(map(str, held)) or 'none'}"
        )
    labels = {key: _labels(f"{path}: {key}", held[key], len(CLASSES)) for key in LABEL_KEYS}
    n = len(labels["clean_label"])
    for key, values in labels.items():
        if len(values) != n:
            raise ValueError(f"{path}: {key} must have one label for each clean_label, got {len(values)} for {n}")
    return labels


def check_order(labels: Mapping[str, Tensor], y_train: Tensor) -> None:
    """Make sure that human labels belong to the images one has, in the same order.

    Parameters
    ----------
    labels : mapping of str to torch.Tensor, shape (n,)
        What `load_cifar_n` returns.
    y_train : torch.Tensor, shape (n,)
        The labels of the training images, which clean_label must repeat.

    Raises
    ------
    ValueError
        If they differ.
    """
    clean = labels["clean_label"]
    if clean.shape != y_train.shape:
        raise ValueError(
            f"clean_label must be y_train, of shape {tuple(y_train.shape)}, got shape {tuple(clean.shape)}; "
            "CIFAR-10N labels the 50,000 training images"
        )
    different = clean != y_train
    if bool(different.any()):
        raise ValueError(
            f"clean_label must be y_train, got another label for {int(different.sum()):,} of {len(clean):,} images, "
            f"first at index {int(different.nonzero()[0])}; load the training images in CIFAR-10's order, unshuffled"
        )


def _load_batches(folder: Path) -> Cifar:
    """Load the folder of Python batches."""
    parts = {}
    for part, names in (("train", TRAIN_BATCHES), ("test", TEST_BATCHES)):
        pixels, labels = zip(*(_read_batch(folder, name) for name in names), strict=True)
        parts[f"x_{part}"] = torch.from_numpy(np.concatenate(pixels))
        parts[f"y_{part}"] = torch.cat(labels)
    return Cifar(**parts, classes=CLASSES)


def _read_batch(folder: Path, name: str) -> tuple[npt.NDArray[np.uint8], Tensor]:
    """Read one pickled batch: images of shape (n, 3, 32, 32), and labels."""
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"folder {str(folder)!r} must hold {name}; it is the folder cifar-10-batches-py in cifar-10-python.tar.gz"
        )
    try:
        with path.open("rb") as file:
            batch = _ArrayUnpickler(file, encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"{path} can't be read as a batch of CIFAR-10: {error}; extract it anew") from error
    if not isinstance(batch, dict) or b"data" not in batch or b"labels" not in batch:
        raise ValueError(
            f"{path} must hold a dict with b'data' and b'labels', as CIFAR-10's batches do; extract it anew"
        )
    pixels = batch[b"data"]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        found = getattr(pixels, "dtype", type(pixels).__name__)
        raise TypeError(f"{path}: b'data' must be an array of uint8, got {found}")
    if pixels.ndim != 2 or pixels.shape[1] != np.prod(SHAPE):
        raise ValueError(f"{path}: b'data' must have shape (n, 3072), one row per image, got {pixels.shape}")
    labels = _labels(f"{path}: b'labels'", batch[b"labels"], len(CLASSES), len(pixels))
    return pixels.reshape(-1, *SHAPE), labels


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles plain containers and NumPy arrays, and refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the few things that a pickled array names."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _ALLOWED[module, name]


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for _codecs.encode, by which Python 3 writes bytes in old protocols, always as Latin-1."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}, which no array needs")
    return text.encode("latin1")


_RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
# NumPy 2 renamed numpy.core: either version shall read what either version wrote.
_RECONSTRUCT_NAMES = ("numpy.core.multiarray", "numpy._core.multiarray")
_ALLOWED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _RECONSTRUCT for module in _RECONSTRUCT_NAMES},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
}


def _load_jpegs(path: Path) -> Cifar:
    """Load the .npz file of JPEG streams."""
    if not path.is_file():
        raise FileNotFoundError(
            f"path {str(path)!r} doesn't exist; it must be the folder cifar-10-batches-py or a .npz file of JPEGs"
        )
    arrays = _read_npz(path, JPEG_KEYS)
    if missing := [key for key in JPEG_KEYS if key not in arrays]:
        raise ValueError(
            f"{path} must hold the arrays {', '.join(missing)}; found {', '.join(arrays) or 'none of them'}"
        )
    classes = arrays["classes"]
    if classes.ndim != 1 or classes.dtype.kind != "U":
        raise TypeError(f"{path}: classes must be a 1-D array of strings, got {classes.dtype} {classes.shape}")
    parts = {}
    for part in ("train", "test"):
        streams, offsets = arrays[f"jpg_{part}"], arrays[f"off_{part}"]
        if streams.dtype != np.uint8 or offsets.dtype.kind not in "iu":
            raise TypeError(
                f"{path}: jpg_{part} must be uint8 and off_{part} integers, got {streams.dtype} and {offsets.dtype}"
            )
        bounds = offsets.astype(np.int64)  # unsigned differences would wrap around
        if streams.ndim != 1 or bounds.ndim != 1 or len(bounds) < 2 or bounds[0] or bounds[-1] != len(streams):
            raise ValueError(
                f"{path}: off_{part} must run from 0 to the length of jpg_{part}, in one dimension each; "
                f"got shapes {offsets.shape} and {streams.shape}"
            )
        if (np.diff(bounds) < 0).any():
            raise ValueError(f"{path}: off_{part} must ascend, got a smaller one after a larger one")
        parts[f"y_{part}"] = _labels(f"{path}: y_{part}", arrays[f"y_{part}"], len(classes), len(bounds) - 1)
        pixels = _decode(f"{path}: jpg_{part}", streams.tobytes(), bounds.tolist())
        parts[f"x_{part}"] = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    return Cifar(**parts, classes=tuple(str(name) for name in classes))


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
                if image.size != (width, height):  # before it is decoded: a header may state any size
                    raise ValueError(f"it has {image.width}x{image.height} pixels, not {width}x{height}")
                pixels[index] = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} can't be decoded at index {index}: {error}") from error
    return pixels


def _read_npz(path: Path, keys: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """Read those of the arrays that a .npz file holds; pickled objects are never loaded."""
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} isn't a .npz archive; numpy.savez writes one")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys if key in archive.files}
    except (ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} can't be read: {error}") from error


def _read_pt(path: Path) -> Mapping[str, Any]:
    """Read a dict of arrays that torch.save wrote."""
    if torch.__version__ < "2.6":  # compared as versions. Before, a global was allowed under its present name only
        raise RuntimeError(
            f"{path} needs PyTorch 2.6 or newer to be read without running its code, this is {torch.__version__}; "
            "save the same arrays by numpy.savez where it is at hand"
        )
    allowed = [(_RECONSTRUCT, f"{module}._reconstruct") for module in _RECONSTRUCT_NAMES]
    numbers = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"]]
    try:
        with torch.serialization.safe_globals([*allowed, np.ndarray, np.dtype, *numbers]):
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly anything, and its text advises to run its code
        raise ValueError(
            f"{path} can't be read as a dict of arrays that torch.save wrote; download CIFAR-10_human.pt anew"
        ) from error
    if not isinstance(held, dict):
        raise ValueError(f"{path} must hold a dict of labels, got {type(held).__name__}")
    return held


def _labels(name: str, values: Any, n_classes: int, n: int | None = None) -> Tensor:
    """Check labels, and `n` of them if it is given, and return them as int64."""
    try:
        labels = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{name} must have shape (n,), one label per image: {error}") from error
    if labels.ndim != 1 or not len(labels):
        raise ValueError(f"{name} must have shape (n,), one label per image, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {labels.dtype}")
    if n is not None and len(labels) != n:
        raise ValueError(f"{name} must have one label per image, got {len(labels)} for {n}")
    if labels.min() < 0 or labels.max() >= n_classes:
        out = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{name} must lie in [0, {n_classes}), one label for each class, got {out}")
    return torch.from_numpy(labels.astype(np.int64))
