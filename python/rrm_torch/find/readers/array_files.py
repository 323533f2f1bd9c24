"""Arrays of samples and labels: .npz files, and the IDX files of MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...data.idx import read_idx
from ...data.images import FASHION, find_idx
from ...data.memory_limit import check_max_bytes
from ...data.npz import read_npz
from .assembly import assemble
from .labelled_data import Kind, LabelledData, ReadOptions, join_names

SAMPLE_NAMES = ("x_train", "X_train", "x", "X", "images", "features", "embeddings")
LABEL_NAMES = ("y_train", "y", "labels")
TEST_NAMES = ("x_test", "X_test", "y_test")


def read_npz_file(path: Path, options: ReadOptions) -> LabelledData:
    """Read samples and labels from a .npz file. Pickled objects are never loaded.

    Parameters
    ----------
    path : Path
        A file with the samples, an array called x_train, X_train, x, X, images, features or embeddings, and the labels,
        called y_train, y or labels. Samples of shape (n, d) are features; of (n, H, W), (n, H, W, C) or (n, C, H, W),
        images; strings are texts. It may have ``classes``, the name of each class, and ``ids``. A test set is ignored.
    options : ReadOptions
        `label` names the array of labels.

    Returns
    -------
    LabelledData

    Raises
    ------
    ValueError, TypeError
        The file isn't a valid .npz archive, an array is missing, too large or of another shape or type; or see
        `encode_labels`.
    """
    _, names = read_npz(path, (), options.max_bytes)
    x_name = _choose(path, names, SAMPLE_NAMES, "samples")
    y_name = _choose(path, names, LABEL_NAMES if options.label is None else (options.label,), "labels")
    arrays, _ = read_npz(path, (x_name, y_name, "classes", "ids"), options.max_bytes)
    notes = []
    if tests := [name for name in TEST_NAMES if name in names]:
        notes.append(f"The arrays of a test set are ignored: {', '.join(tests)}.")
    others = [name for name in names if name not in (x_name, y_name, "classes", "ids", *TEST_NAMES)]
    if others:
        notes.append(f"The samples are the array {x_name}, and the labels {y_name}; not used: {join_names(others)}.")
    kind, samples, unusable = _read_samples(f"{x_name} of {path}", arrays[x_name], options.kind, notes)
    class_names = _read_classes(path, arrays.get("classes"))
    if class_names is None and x_name == "x_train" and "fashion" in path.stem.lower():
        class_names = _fashion_names(arrays[y_name])
    return assemble(
        name=path.name,
        where=f"{y_name} of {path}",
        kind=kind,
        samples=samples,
        labels=_read_labels(f"{y_name} of {path}", arrays[y_name]),
        ids=_read_ids(path, arrays.get("ids"), len(samples)),
        notes=notes,
        unusable=unusable,
        class_names=class_names,
    )


def is_idx_folder(folder: Path) -> bool:
    """Return whether a folder has the training images of MNIST in its format."""
    return any(folder.glob("train-images*idx3-ubyte*"))


def read_idx_folder(folder: Path, options: ReadOptions) -> LabelledData:
    """Read the training set from the IDX files of MNIST or a data set in its format.

    Parameters
    ----------
    folder : Path
        With train-images-idx3-ubyte and train-labels-idx1-ubyte, see `rrm_torch.data.images.load_idx`.
    options : ReadOptions

    Returns
    -------
    LabelledData

    Raises
    ------
    FileNotFoundError
        One of the files is missing.
    ValueError, TypeError
        A file is invalid or too large; or see `encode_labels`.
    """
    limit = check_max_bytes(options.max_bytes)
    images_path = find_idx(folder, "train-images", "idx3-ubyte")
    labels_path = find_idx(folder, "train-labels", "idx1-ubyte")
    images = read_idx(images_path, 3, limit)
    labels = read_idx(labels_path, 1, max(limit - images.nbytes, 1))
    name = folder.resolve().name
    notes = []
    if any(folder.glob("t10k-images*")):
        notes.append("The files of a test set are ignored: t10k-images and t10k-labels.")
    return assemble(
        name=name,
        where=str(labels_path),
        kind="images",
        samples=_as_pixels(images),
        labels=labels,
        ids=np.arange(len(images)),
        notes=notes,
        class_names=_fashion_names(labels) if "fashion" in name.lower() else None,
    )


def _choose(path: Path, names: Sequence[str], usual: Sequence[str], what: str) -> str:
    """Return the first usual name of an array that the file has."""
    for name in usual:
        if name in names:
            return name
    raise ValueError(
        f"{path} must have an array of {what} called {' or '.join(usual)}; "
        f"it has {join_names(list(names), 20) or 'none'}"
    )


def _read_samples(
    where: str, array: npt.NDArray[Any], kind: str | None, notes: list[str]
) -> tuple[Kind, Any, dict[int, str]]:
    """Return the kind of samples, the samples, and which can't be used."""
    if array.dtype.kind == "U" and array.ndim == 1 and kind in (None, "texts"):
        texts = list(map(str, array.tolist()))
        return "texts", texts, {row: "no text" for row, text in enumerate(texts) if not text.strip()}
    if array.dtype.kind not in "iufb":
        raise TypeError(f"{where} must be numbers or strings, got {array.dtype}")
    if array.ndim not in (2, 3, 4) or not array.size:
        raise ValueError(
            f"{where} must have shape (n, d) for features, or (n, H, W) or (n, H, W, C) for images, got {array.shape}"
        )
    if kind == "texts":
        raise ValueError(f"{where} must be strings for texts, got {array.dtype}")
    if array.ndim == 2 and kind == "images":
        raise ValueError(f"{where} must have shape (n, H, W) or (n, H, W, C) for images, got {array.shape}")
    if array.ndim > 2 and kind != "features":
        return "images", _as_pixels(_channels_last(where, array, notes)), {}
    with np.errstate(over="ignore"):  # overflow gives an infinity, which is left out
        features = array.reshape(len(array), -1).astype(np.float32)
    is_finite = np.isfinite(features).all(axis=1)
    return "features", features, dict.fromkeys(np.flatnonzero(~is_finite).tolist(), "NaN or infinite features")


def _channels_last(where: str, images: npt.NDArray[Any], notes: list[str]) -> npt.NDArray[Any]:
    channels = (1, 3, 4)
    if images.ndim == 3 or images.shape[3] in channels:
        return images
    if images.shape[1] in channels:
        notes.append(f"The images have the shape {images.shape}: (n, C, H, W), with the channels before the rows.")
        return np.moveaxis(images, 1, -1)
    raise ValueError(f"{where} must have shape (n, H, W) or (n, H, W, C) with C = 1, 3 or 4, got {images.shape}")


def _as_pixels(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images as uint8, if that holds their values, or as floats."""
    if images.dtype == np.uint8 or images.dtype.kind == "f":
        return images
    if images.size and images.min() >= 0 and images.max() <= 255:
        return images.astype(np.uint8)
    return images.astype(np.float32)


def _read_labels(where: str, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(
            f"{where} must have shape (n,), one label per sample, got {labels.shape}; of one column per class, "
            "numpy.argmax(y, axis=1) makes labels"
        )
    return labels


def _read_classes(path: Path, classes: npt.NDArray[Any] | None) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if classes.ndim != 1 or classes.dtype.kind not in "US":
        raise TypeError(f"classes of {path} must be a 1-D array of strings, got {classes.dtype} {classes.shape}")
    return tuple(map(str, classes.astype(str).tolist()))


def _read_ids(path: Path, ids: npt.NDArray[Any] | None, n: int) -> npt.NDArray[Any]:
    if ids is None:
        return np.arange(n)
    if ids.shape != (n,) or ids.dtype.kind not in "iuUS":
        raise ValueError(f"ids of {path} must be {n:,} integers or strings, got {ids.dtype} {ids.shape}")
    return ids.astype(str) if ids.dtype.kind == "S" else ids


def _fashion_names(labels: npt.NDArray[Any]) -> tuple[str, ...] | None:
    """Return the class names of Fashion-MNIST, if the labels can be its own."""
    if labels.size and labels.dtype.kind in "iu" and labels.max() < len(FASHION):
        return FASHION
    return None
