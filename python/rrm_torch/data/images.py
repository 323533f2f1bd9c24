"""Sets of labelled images, without extra packages: scikit-learn's digits, .npz files, and MNIST's own format."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .idx import read_idx

if TYPE_CHECKING:
    from collections.abc import Sequence

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
"""The ten classes of Fashion-MNIST, in the order of its labels (Xiao, Rasul and Vollgraf 2017)."""

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test", "classes")

ACCEPTED = "'digits', a .npz file, or a folder with the four IDX files of MNIST or Fashion-MNIST"


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images in two parts, ready to train on.

    Attributes
    ----------
    name : str
        What the set is called, from its file or folder.
    x_train, x_test : torch.Tensor of float32, shape (n, C, H, W)
        Images, C = 1 or 3. Standardised: the pixels of all training images together have mean 0 and variance 1, and the
        test images went through the same map.
    y_train, y_test : torch.Tensor of int64, shape (n,)
        Labels in [0, n_classes).
    classes : tuple of str
        Name of each class.
    black, white : float
        The standardised values of the darkest and of the brightest pixel, from which `pictures` finds its way back.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    classes: tuple[str, ...]
    black: float
    white: float

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def pictures(self, indices: Sequence[int] | npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return training images as one shows them.

        Parameters
        ----------
        indices : sequence of int, shape (k,), or array of bool, shape (n,)
            Which images.

        Returns
        -------
        np.ndarray of float32, shape (k, H, W) or (k, H, W, 3)
            Grey values or red, green and blue, in [0, 1].

        Raises
        ------
        IndexError
            If an index is out of range or isn't an integer.
        """
        chosen = np.asarray(indices, dtype=None if len(indices) else np.int64)
        images: npt.NDArray[np.float32] = self.x_train.numpy()[chosen]
        images = np.clip((images - self.black) / (self.white - self.black), 0, 1)
        return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)


def load(source: str | Path) -> ImageData:
    """Load a set of images by what it is.

    Parameters
    ----------
    source : str or Path
        ``"digits"`` for scikit-learn's handwritten digits (`load_digits`), a .npz file (`load_npz`), or a folder with
        the four IDX files of MNIST or Fashion-MNIST (`load_idx`). A folder that is itself called digits is
        ``"./digits"``.

    Returns
    -------
    ImageData

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If it is something else, or what it holds isn't a set of labelled images.
    """
    if source == "digits":
        return load_digits()
    path = Path(source)
    if path.is_dir():
        return load_idx(path)
    if not path.exists():
        raise FileNotFoundError(f"source {str(source)!r} doesn't exist; it must be {ACCEPTED}")
    if path.suffix != ".npz":
        raise ValueError(f"source must be {ACCEPTED}, got the file {str(source)!r}")
    return load_npz(path)


def load_digits(test_share: float = 0.25, seed: int = 0) -> ImageData:
    """Load scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; nothing is downloaded.

    Parameters
    ----------
    test_share : float
        Share of the images to test on, in [0.01, 0.99]. Each digit has the same share.
    seed : int
        Seed of the split. With the same seed, results of different runs can be compared.

    Returns
    -------
    ImageData

    Raises
    ------
    ImportError
        If scikit-learn isn't installed.
    ValueError
        If `test_share` is out of its range.
    """
    if not 0.01 <= test_share <= 0.99:
        raise ValueError(f"test_share must lie in [0.01, 0.99] to leave each digit in both parts, got {test_share}")
    try:
        from sklearn import datasets, model_selection
    except ImportError as error:
        raise ImportError("the digits come with scikit-learn: pip install 'rrm-core[torch]'") from error
    digits = datasets.load_digits()
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        digits.images, digits.target, test_size=test_share, random_state=seed, stratify=digits.target
    )
    return _image_data("digits", "digits", x_train, y_train, x_test, y_test)


def load_npz(path: str | Path) -> ImageData:
    """Load images from a .npz file such as `numpy.savez` writes.

    Parameters
    ----------
    path : str or Path
        A file with the arrays x_train and x_test, uint8 or floating-point, of shape (n, H, W) or (n, H, W, C) with
        C = 1 or 3; y_train and y_test, integers, of shape (n,); and, if the classes have names, classes, an array of
        strings. Without it they are called as in Fashion-MNIST if the file's name contains "fashion", and otherwise
        "0", "1", ... up to the largest label.

    Returns
    -------
    ImageData

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file isn't a sound .npz archive, an array is missing, or images and labels don't fit together.
    TypeError
        If an array is of another type.

    Notes
    -----
    Pickled objects are never loaded. Floating-point images run from black at 0 to white at 1 if the training images lie
    in that range, and otherwise from their smallest to their largest value.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing file")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} isn't a .npz archive; numpy.savez writes one")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, npt.NDArray[Any]] = {key: archive[key] for key in archive.files if key in NPZ_KEYS}
            found = archive.files
    except (ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} can't be read: {error}") from error
    if missing := [key for key in NPZ_KEYS if key not in arrays and key != "classes"]:
        raise ValueError(f"{path} must hold the arrays {', '.join(missing)}; found {', '.join(found) or 'none'}")
    return _image_data(path.stem, str(path), **arrays)


def load_idx(folder: str | Path) -> ImageData:
    """Load MNIST, Fashion-MNIST or another set in their format from its four IDX files.

    Parameters
    ----------
    folder : str or Path
        Folder with train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
        t10k-labels-idx1-ubyte. Each may be compressed (.gz), and spelt with a dot before idx. If the folder's name
        contains "fashion", the classes are called as in Fashion-MNIST, and otherwise "0", "1", ... up to the largest
        label.

    Returns
    -------
    ImageData

    Raises
    ------
    FileNotFoundError
        If the folder or one of the files is missing.
    ValueError
        If a file isn't sound, or images and labels don't fit together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {str(folder)!r} isn't an existing folder")
    arrays = {
        f"{letter}_{part}": read_idx(_find(folder, f"{stem}-{noun}", f"idx{ndim}-ubyte"), ndim)
        for part, stem in (("train", "train"), ("test", "t10k"))
        for letter, noun, ndim in (("x", "images", 3), ("y", "labels", 1))
    }
    return _image_data(folder.resolve().name, str(folder), **arrays)


def _find(folder: Path, stem: str, ending: str) -> Path:
    """Return the one of a file's spellings that exists."""
    for name in (f"{stem}-{ending}", f"{stem}.{ending}", f"{stem}-{ending}.gz", f"{stem}.{ending}.gz"):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"folder {str(folder)!r} must hold {stem}-{ending} or {stem}-{ending}.gz, found neither")


def _image_data(
    name: str,
    source: str,
    x_train: npt.NDArray[Any],
    y_train: npt.NDArray[Any],
    x_test: npt.NDArray[Any],
    y_test: npt.NDArray[Any],
    classes: npt.NDArray[Any] | None = None,
) -> ImageData:
    """Check the arrays of a set of images, standardise them, and name the classes."""
    for key, labels, images in (("y_train", y_train, x_train), ("y_test", y_test, x_test)):
        if labels.ndim != 1:
            raise ValueError(f"{source}: {key} must have shape (n,), one label per image, got {labels.shape}")
        if labels.dtype.kind not in "iu":
            raise TypeError(f"{source}: {key} must be integers, got {labels.dtype}")
        if images.shape[:1] != labels.shape:
            raise ValueError(f"{source}: {key} must have one label per image, got {images.shape} and {labels.shape}")
    train = _channels_first(f"{source}: x_train", x_train)
    test = _channels_first(f"{source}: x_test", x_test)
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"{source}: x_test must have images of x_train's shape, got {x_test.shape} and {x_train.shape}"
        )
    if x_train.dtype.kind != x_test.dtype.kind:  # bytes run to 255 and floats mostly to 1: another unit
        raise TypeError(f"{source}: x_test must be of x_train's kind, got {x_test.dtype} and {x_train.dtype}")

    if classes is not None and (classes.ndim != 1 or classes.dtype.kind != "U"):
        raise TypeError(f"{source}: classes must be a 1-D array of strings, got {classes.dtype} {classes.shape}")
    if classes is not None:
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
    for key, labels in (("y_train", y_train), ("y_test", y_test)):
        if labels.min() < 0 or labels.max() >= len(names):
            out = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(f"{source}: {key} must lie in [0, {len(names)}), one label for each class, got {out}")
    if len(names) < 2:
        raise ValueError(f"{source}: y_train must hold at least 2 classes, got {len(names)}")

    low, high = float(train.min()), float(train.max())
    if low == high:
        raise ValueError(f"{source}: x_train must show something, got {low:g} in every pixel")
    if x_train.dtype == np.uint8:
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
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
    channels = images[:, np.newaxis] if images.ndim == 3 else np.moveaxis(images, -1, 1)
    with np.errstate(over="ignore"):  # an infinity, and reported as such
        pixels = np.array(channels, dtype=np.float32, order="C")
    if not np.isfinite(pixels).all():
        raise ValueError(f"{key} must be finite in single precision, got NaN or infinite pixels")
    return torch.from_numpy(pixels)
