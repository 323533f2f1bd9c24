"""Labelled image data sets: scikit-learn's digits, .npz files and IDX files, the format of MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._checks import column_remedy
from .idx import read_idx
from .memory_limit import check_max_bytes
from .npz import read_npz

FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Class names of Fashion-MNIST, in the order of its labels (Xiao, Rasul and Vollgraf 2017)."""

REQUIRED_ARRAYS = ("x_train", "y_train", "x_test", "y_test")

ACCEPTED_SOURCES = "'digits', a .npz file, or a folder with the four IDX files of MNIST or Fashion-MNIST"


@dataclass(frozen=True, eq=False)
class ImageData:
    """A training set and a test set of labelled images.

    Attributes
    ----------
    name : str
        Name of the data set, from its file or folder.
    x_train, x_test : torch.Tensor of float32, shape (n, C, H, W)
        Standardised images, C = 1 or 3: over all pixels of the training images the mean is 0 and the variance 1; the
        test images are mapped in the same way.
    y_train, y_test : torch.Tensor of int64, shape (n,)
        Labels in [0, n_classes).
    classes : tuple of str
        Name of each class.
    black, white : float
        Standardised values of black and white, with which `pictures` inverts the standardisation.
    ids : np.ndarray of int64, shape (n,), optional
        The positions of the training images in the source, if some were left out.
    uncorrected : np.ndarray of int64, shape (n,), optional
        The labels of the training images in the source, if some were corrected.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    black: float
    white: float
    ids: npt.NDArray[np.int64] | None = None
    uncorrected: npt.NDArray[np.int64] | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def pictures(self, indices: Sequence[int] | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return training images for display.

        Parameters
        ----------
        indices : sequence of int, shape (k,), or array of bool, shape (n,)
            Indices of the images, or a mask.

        Returns
        -------
        np.ndarray of float32, shape (k, H, W) or (k, H, W, 3)
            Greyscale or RGB values in [0, 1].

        Raises
        ------
        IndexError
            An index is out of range or isn't an integer.
        """
        # Without a type, an empty list would become an array of floats.
        selection = np.asarray(indices, dtype=None if len(indices) else np.int64)
        images: npt.NDArray[np.float32] = self.x_train.numpy()[selection]
        images = np.clip((images - self.black) / (self.white - self.black), 0, 1)
        if images.shape[1] == 1:
            return images[:, 0]
        return np.moveaxis(images, 1, -1)


def load(source: str | Path, max_bytes: int | None = None) -> ImageData:
    """Load an image data set from any of the supported sources.

    Parameters
    ----------
    source : str or Path
        ``"digits"`` for scikit-learn's handwritten digits (`load_digits`), a .npz file (`load_npz`), or a folder with
        the four IDX files of MNIST or Fashion-MNIST (`load_idx`). Write ``"./digits"`` for a folder called digits.
    max_bytes : int, optional
        Bytes that the arrays of the files may take together, as they are stored; checked before they are decoded. By
        default a quarter of this machine's memory.

    Returns
    -------
    ImageData

    Raises
    ------
    FileNotFoundError
        The file or folder doesn't exist.
    ValueError
        The source is of another kind or too large, or doesn't contain labelled images.
    """
    if source == "digits":
        return load_digits()
    path = Path(source)
    if path.is_dir():
        return load_idx(path, max_bytes)
    if not path.exists():
        raise FileNotFoundError(f"source {str(source)!r} doesn't exist; it must be {ACCEPTED_SOURCES}")
    if path.suffix != ".npz":
        raise ValueError(f"source must be {ACCEPTED_SOURCES}, got the file {str(source)!r}")
    return load_npz(path, max_bytes)


def load_digits(test_share: float = 0.25, seed: int = 0) -> ImageData:
    """Load scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, without a download.

    Parameters
    ----------
    test_share : float
        Share of the images in the test set, in [0.01, 0.99], stratified by digit.
    seed : int
        Seed of the split.

    Returns
    -------
    ImageData

    Raises
    ------
    ImportError
        scikit-learn isn't installed.
    ValueError
        `test_share` is outside its range.
    """
    if not 0.01 <= test_share <= 0.99:
        raise ValueError(f"test_share must lie in [0.01, 0.99] to keep each digit in both sets, got {test_share}")
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise ImportError("the digits need scikit-learn, which is not installed: pip install scikit-learn") from error
    digits = datasets.load_digits()
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        digits.images, digits.target, test_size=test_share, random_state=seed, stratify=digits.target
    )
    return _image_data("digits", "digits", x_train, y_train, x_test, y_test)


def load_npz(path: str | Path, max_bytes: int | None = None) -> ImageData:
    """Load images from a .npz file such as `numpy.savez` writes.

    Parameters
    ----------
    path : str or Path
        A file with the arrays x_train and x_test, uint8 or floating-point, of shape (n, H, W) or (n, H, W, C) with
        C = 1 or 3; y_train and y_test, integers, of shape (n,); and optionally classes, an array of strings. Without
        classes, the class names are those of Fashion-MNIST if the file's name contains "fashion", otherwise "0", "1",
        ... up to the largest label.
    max_bytes : int, optional
        See `load`.

    Returns
    -------
    ImageData

    Raises
    ------
    FileNotFoundError
        The file doesn't exist.
    ValueError
        The file isn't a valid .npz archive, an array is missing or too large, or images and labels don't match.
    TypeError
        An array has the wrong type.

    Notes
    -----
    Pickled objects are never loaded. In floating-point images 0 is black and 1 is white if the training images are
    within that range; otherwise their smallest value is black and their largest value white.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing file")
    arrays, names = read_npz(path, (*REQUIRED_ARRAYS, "classes"), max_bytes)
    if missing := [name for name in REQUIRED_ARRAYS if name not in arrays]:
        raise ValueError(f"{path} must contain the arrays {', '.join(missing)}; it has {', '.join(names) or 'none'}")
    return _image_data(path.stem, str(path), **arrays)


def load_idx(folder: str | Path, max_bytes: int | None = None) -> ImageData:
    """Load MNIST, Fashion-MNIST or another data set in their format from its four IDX files.

    Parameters
    ----------
    folder : str or Path
        Folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte. Each may be compressed (.gz), and may have a dot before idx instead of the hyphen. The
        class names are those of Fashion-MNIST if the folder's name contains "fashion", otherwise "0", "1", ... up to
        the largest label.
    max_bytes : int, optional
        See `load`.

    Returns
    -------
    ImageData

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is missing.
    ValueError
        A file is invalid or too large, or images and labels don't match.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {str(folder)!r} isn't an existing folder")
    limit = check_max_bytes(max_bytes)
    arrays = {}
    for part, stem in (("train", "train"), ("test", "t10k")):
        for letter, noun, ndim in (("x", "images", 3), ("y", "labels", 1)):
            path = find_idx(folder, f"{stem}-{noun}", f"idx{ndim}-ubyte")
            array = read_idx(path, ndim, max(limit, 1))
            arrays[f"{letter}_{part}"] = array
            limit -= array.nbytes
    return _image_data(folder.resolve().name, str(folder), **arrays)


def find_idx(folder: Path, stem: str, ending: str) -> Path:
    """Return the path of an IDX file under any of its usual names."""
    for name in (f"{stem}-{ending}", f"{stem}.{ending}", f"{stem}-{ending}.gz", f"{stem}.{ending}.gz"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"folder {str(folder)!r} must contain {stem}-{ending} or {stem}-{ending}.gz, found neither")


def _image_data(
    name: str,
    source: str,
    x_train: npt.NDArray[Any],
    y_train: npt.NDArray[Any],
    x_test: npt.NDArray[Any],
    y_test: npt.NDArray[Any],
    classes: npt.NDArray[Any] | None = None,
) -> ImageData:
    """Check the arrays of an image data set, standardise the images and name the classes."""
    _check_labels(f"{source}: y_train", y_train, x_train)
    _check_labels(f"{source}: y_test", y_test, x_test)
    train = _channels_first(f"{source}: x_train", x_train)
    test = _channels_first(f"{source}: x_test", x_test)
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"{source}: x_test must have images of x_train's shape, got {x_test.shape} and {x_train.shape}"
        )
    # The unit of bytes is 255, that of floating-point images usually 1.
    if x_train.dtype.kind != x_test.dtype.kind:
        raise TypeError(f"{source}: x_test must be of x_train's kind, got {x_test.dtype} and {x_train.dtype}")
    names = _class_names(name, source, y_train, y_test, classes)
    low, high = _pixel_range(source, x_train.dtype, train)
    for pixels in (train, test):
        pixels.sub_(low).div_(high - low)
    std, mean = (moment.item() for moment in torch.std_mean(train, correction=0))
    for pixels in (train, test):
        pixels.sub_(mean).div_(std)
    return ImageData(
        name=name,
        x_train=train,
        y_train=torch.from_numpy(y_train.astype(np.int64)),
        x_test=test,
        y_test=torch.from_numpy(y_test.astype(np.int64)),
        classes=names,
        black=-mean / std,
        white=(1 - mean) / std,
    )


def _check_labels(name: str, labels: npt.NDArray[Any], images: npt.NDArray[Any]) -> None:
    """Raise unless there is one integer label per image."""
    if labels.ndim != 1:
        remedy = column_remedy(name.rpartition(": ")[2], labels.shape)
        raise ValueError(f"{name} must have shape (n,), one label per image, got {labels.shape}{remedy}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {labels.dtype}")
    if images.shape[:1] != labels.shape:
        raise ValueError(f"{name} must have one label per image, got {images.shape} and {labels.shape}")


def _class_names(
    name: str,
    source: str,
    y_train: npt.NDArray[Any],
    y_test: npt.NDArray[Any],
    classes: npt.NDArray[Any] | None,
) -> tuple[str, ...]:
    """Return the class names: those of the data set, of Fashion-MNIST, or numbers."""
    if classes is not None:
        if classes.ndim != 1 or classes.dtype.kind != "U":
            raise TypeError(f"{source}: classes must be a 1-D array of strings, got {classes.dtype} {classes.shape}")
        names = tuple(str(label) for label in classes)
    elif "fashion" in name.lower():
        names = FASHION
    else:
        largest = max(int(y_train.max()), int(y_test.max()))
        if largest >= len(y_train):
            raise ValueError(
                f"{source}: y_train must hold labels from 0 on, got {largest:,} for {len(y_train):,} images"
            )
        names = tuple(str(label) for label in range(largest + 1))
    _check_label_range(f"{source}: y_train", y_train, len(names))
    _check_label_range(f"{source}: y_test", y_test, len(names))
    if len(names) < 2:
        raise ValueError(f"{source}: y_train must hold at least 2 classes, got {len(names)}")
    return names


def _check_label_range(name: str, labels: npt.NDArray[Any], n_classes: int) -> None:
    """Raise unless all labels are in [0, n_classes)."""
    low = labels.min()
    high = labels.max()
    if low < 0 or high >= n_classes:
        invalid = low if low < 0 else high
        raise ValueError(f"{name} must lie in [0, {n_classes}), one label for each class, got {invalid}")


def _pixel_range(source: str, dtype: np.dtype[Any], train: Tensor) -> tuple[float, float]:
    """Return the values of black and white in training images that had `dtype` in their file."""
    low = float(train.min())
    high = float(train.max())
    if low == high:
        raise ValueError(f"{source}: x_train must not be constant, got {low:g} in every pixel")
    if dtype == np.uint8:
        return 0.0, 255.0
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def _channels_first(key: str, images: npt.NDArray[Any]) -> Tensor:
    """Return images of shape (n, H, W) or (n, H, W, C) as a new float32 tensor of shape (n, C, H, W)."""
    if images.dtype != np.uint8 and images.dtype.kind != "f":
        raise TypeError(f"{key} must be uint8 or floating-point, got {images.dtype}")
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise ValueError(
            f"{key} must have shape (n, H, W) or (n, H, W, C) with C = 1 or 3, got {images.shape}; "
            "numpy.moveaxis(images, 1, -1) puts channels last"
        )
    if not images.size:
        raise ValueError(f"{key} must hold at least one image, got shape {images.shape}")
    if images.ndim == 3:
        channels = images[:, np.newaxis]
    else:
        channels = np.moveaxis(images, -1, 1)
    with np.errstate(over="ignore"):  # overflow gives an infinity, which is reported below
        pixels = np.array(channels, dtype=np.float32, order="C")
    if not np.isfinite(pixels).all():
        raise ValueError(f"{key} must be finite in single precision, got NaN or infinite pixels")
    return torch.from_numpy(pixels)
