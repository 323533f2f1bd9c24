"""CIFAR-10N and CIFAR-100N: human labels of the training images of CIFAR-10 and CIFAR-100 (Wei et al. 2022)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rrm_torch.data.memory_limit import check_max_bytes, refuse_too_large
from rrm_torch.data.npz import read_npz

from .arrays import RECONSTRUCT, RECONSTRUCT_NAMES, check_labels
from .cifar import CLASSES
from .cifar100 import N_CLASSES, N_COARSE

LABEL_KEYS = ("clean_label", "aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")
"""The label sets: the true labels; the majority of three annotators; a wrong label of the three wherever there is one;
and the labels of each annotator."""

LABEL_KEYS_100 = ("clean_label", "noisy_label", "clean_coarse_label", "noisy_coarse_label")
"""The label sets of CIFAR-100N: the true labels and an annotator's, of the classes and of the superclasses."""


def load_cifar_n(path: str | Path, max_bytes: int | None = None) -> dict[str, Tensor]:
    """Load the human labels of CIFAR-10N.

    Parameters
    ----------
    path : str or Path
        CIFAR-10_human.pt, as its authors distribute it, or a .npz file with the same arrays.
    max_bytes : int, optional
        Bytes that the decoded file may take; by default a quarter of this machine's memory.

    Returns
    -------
    dict of str to torch.Tensor of int64, shape (n,)
        Labels in [0, 10) by name: clean_label, aggre_label, worse_label, random_label1, random_label2, random_label3.
        They are in the order of CIFAR-10; see `check_order`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or too large, labels are missing or out of range, or the sets differ in length.
    TypeError
        If labels are not integers.
    RuntimeError
        If it is a .pt file and PyTorch is older than 2.6.

    Notes
    -----
    A .pt file is a pickle. It is read with ``weights_only=True`` and NumPy's arrays allowed, so that it cannot run
    code.
    """
    return _load(path, "CIFAR-10", dict.fromkeys(LABEL_KEYS, len(CLASSES)), max_bytes)


def load_cifar100_n(path: str | Path, max_bytes: int | None = None) -> dict[str, Tensor]:
    """Load the human labels of CIFAR-100N.

    Parameters
    ----------
    path : str or Path
        CIFAR-100_human.pt, as its authors distribute it, or a .npz file with the same arrays.
    max_bytes : int, optional
        Bytes that the decoded file may take; by default a quarter of this machine's memory.

    Returns
    -------
    dict of str to torch.Tensor of int64, shape (n,)
        Labels by name: clean_label and noisy_label in [0, 100), clean_coarse_label and noisy_coarse_label in [0, 20).
        They are in the order of CIFAR-100; see `check_order`.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError, RuntimeError
        As `load_cifar_n` does, by which the file is read without running code as well.
    """
    n_classes = {key: N_COARSE if "coarse" in key else N_CLASSES for key in LABEL_KEYS_100}
    return _load(path, "CIFAR-100", n_classes, max_bytes)


def _load(path: str | Path, name: str, n_classes: Mapping[str, int], max_bytes: int | None) -> dict[str, Tensor]:
    """Load the labels of a data set with the keys of `n_classes`, which says how many classes each of them has."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing file; {name}N comes as {name}_human.pt")
    limit = check_max_bytes(max_bytes)
    arrays: Mapping[str, Any]
    if path.suffix == ".npz":
        arrays, _ = read_npz(path, tuple(n_classes), limit)
    else:
        refuse_too_large(str(path), _decoded_size(path, name), limit)
        arrays = _read_pt(path, name)
    if missing := [key for key in n_classes if key not in arrays]:
        raise ValueError(
            f"{path} must hold the labels {', '.join(missing)}; found {', '.join(map(str, arrays)) or 'none'}"
        )
    labels = {key: check_labels(f"{path}: {key}", arrays[key], k) for key, k in n_classes.items()}
    n = len(labels["clean_label"])
    for key, values in labels.items():
        if len(values) != n:
            raise ValueError(f"{path}: {key} must have one label for each clean_label, got {len(values)} for {n}")
    return labels


def check_order(labels: Mapping[str, Tensor], y_train: Tensor) -> None:
    """Check that human labels are those of the given images, in the same order.

    Parameters
    ----------
    labels : mapping of str to torch.Tensor, shape (n,)
        Returned by `load_cifar_n` or `load_cifar100_n`.
    y_train : torch.Tensor, shape (n,)
        True labels of the training images, to which clean_label must be equal; for CIFAR-100 the fine labels.

    Raises
    ------
    ValueError
        If they differ.
    """
    name = "CIFAR-100" if "noisy_label" in labels else "CIFAR-10"
    clean = labels["clean_label"]
    if clean.shape != y_train.shape:
        raise ValueError(
            f"clean_label must be y_train, of shape {tuple(y_train.shape)}, got shape {tuple(clean.shape)}; "
            f"{name}N labels the 50,000 training images"
        )
    different = clean != y_train
    if bool(different.any()):
        raise ValueError(
            f"clean_label must be y_train, got another label for {int(different.sum()):,} of {len(clean):,} images, "
            f"first at index {int(different.nonzero()[0])}; load the training images in {name}'s order, unshuffled"
        )


def _decoded_size(path: Path, name: str) -> int:
    """Return the bytes of a file that torch.save wrote, decompressed if it is an archive."""
    if not zipfile.is_zipfile(path):
        return path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(member.file_size for member in archive.infolist())
    except Exception as error:  # a damaged archive raises many kinds of errors
        raise ValueError(f"{path} can't be read as an archive: {error}; download {name}_human.pt again") from error


def _read_pt(path: Path, name: str) -> Mapping[str, Any]:
    """Read a dict of arrays that torch.save wrote."""
    if torch.__version__ < "2.6":  # a comparison of versions; older ones allow a global only by its present name
        raise RuntimeError(
            f"{path} needs PyTorch 2.6 or newer to be read without running its code, this is {torch.__version__}; "
            "save the same arrays by numpy.savez where it is at hand"
        )
    allowed = [(RECONSTRUCT, f"{module}._reconstruct") for module in RECONSTRUCT_NAMES]
    numbers = [type(np.dtype(code)) for code in np.typecodes["AllInteger"] + np.typecodes["AllFloat"]]
    try:
        with torch.serialization.safe_globals([*allowed, np.ndarray, np.dtype, *numbers]):
            arrays = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises nearly any error; torch's message advises to load unsafely
        raise ValueError(
            f"{path} can't be read as a dict of arrays that torch.save wrote; download {name}_human.pt again"
        ) from error
    if not isinstance(arrays, dict):
        raise ValueError(f"{path} must hold a dict of labels, got {type(arrays).__name__}")
    return arrays
