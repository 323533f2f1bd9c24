"""Data for experiments: a loader that yields each sample's index, and a few image sets without extra packages."""

from __future__ import annotations

import gzip
import math
import operator
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

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

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type code in an IDX file's header -> NumPy type. IDX is big-endian."""

NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test", "classes")

ACCEPTED = "'digits', a .npz file, or a folder with the four IDX files of MNIST or Fashion-MNIST"


class Indexed(Dataset[tuple[Any, ...]]):
    """A map-style data set whose items begin with their index, so that an ordinary DataLoader yields (index, x, y).

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Any map-style data set of tuples: with ``len(dataset)``, and ``dataset[i]`` a tuple such as (x, y).

    Raises
    ------
    TypeError
        If `dataset` isn't map-style, or, on access, if an item isn't a tuple or list.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"dataset must be map-style, with len(dataset) and dataset[i], got {type(dataset).__name__}: "
                "a stream has no index by which to find a sample again"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must lie in [{-len(self)}, {len(self)}), got {index}")
        index %= len(self)  # a sample has one index, also when it is asked for from the end
        item = self.dataset[index]
        if not isinstance(item, (tuple, list)):
            raise TypeError(f"dataset must hold tuples such as (x, y), got {type(item).__name__} at index {index}")
        return (index, *item)


def batches(
    x: Tensor, y: Tensor, batch_size: int, *, shuffle: bool, generator: torch.Generator | None = None
) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
    """Return a loader of (index, x, y) that cuts whole batches out of tensors in memory.

    Equivalent to ``DataLoader(Indexed(TensorDataset(x, y)), batch_size, shuffle=shuffle)``, without fetching and
    stacking the samples one by one, which takes several times as long when they are small images.

    Parameters
    ----------
    x : torch.Tensor, shape (n, ...)
        Inputs, n >= 1.
    y : torch.Tensor, shape (n, ...)
        Targets.
    batch_size : int
        Samples per batch, at least 1. The last batch holds the rest.
    shuffle : bool
        Whether to visit the samples in a new random order each time.
    generator : torch.Generator, optional
        Where the order comes from; with a seeded one it is reproducible. By default, torch's global generator. Without
        shuffling, no random number is drawn from either.

    Returns
    -------
    torch.utils.data.DataLoader
        ``len(loader)`` is the number of batches and ``len(loader.dataset)`` that of samples; ``loader.batch_size`` is
        None, since the loader sees each batch as one item. The index is int64, of shape (batch,), and lies where `x`
        does.

    Raises
    ------
    ValueError
        If `batch_size` is below 1, `x` is empty, or `x` and `y` differ in length.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y):
        raise ValueError(f"x and y must have the same length, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    if not len(x):
        raise ValueError("x must hold at least one sample, got none")
    dataset = _Slices(x, y)
    # A DataLoader may draw a seed for its workers. A pass over a test set must not shift the training's random numbers.
    own = generator if shuffle else torch.Generator()
    order = RandomSampler(dataset, generator=own) if shuffle else SequentialSampler(dataset)
    sampler = BatchSampler(order, batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=sampler, generator=own)


class _Slices(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A data set whose items are batches: many indices in, one (index, x, y) out."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        index = torch.tensor(indices, device=self.x.device)
        return index, self.x[index], self.y[index]


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


def read_idx(path: str | Path, ndim: int) -> npt.NDArray[Any]:
    """Read one IDX file, the format of MNIST (LeCun, Cortes and Burges 1998).

    Parameters
    ----------
    path : str or Path
        The file; decompressed on the way if its name ends in .gz.
    ndim : int
        Number of dimensions that the array must have.

    Returns
    -------
    np.ndarray with `ndim` dimensions
        The array in the type the file states, in this machine's byte order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file doesn't begin as IDX, states another number of dimensions, or holds more or less data than it
        states.

    Notes
    -----
    An IDX file is two zero bytes, a type code, the number of dimensions, each dimension's size as a big-endian 32-bit
    integer, and the elements, also big-endian, in C order.
    """
    path = Path(path)
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} isn't sound gzip: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ValueError(f"{path} isn't an IDX file: it begins with the bytes {content[:4].hex(' ') or '(none)'}")
    if content[3] != ndim:
        raise ValueError(f"{path} must hold an array with {ndim} dimensions, got {content[3]}")
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(f"{path} is cut off in its header, after {len(content)} of {start} bytes")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", ndim, offset=4))
    dtype = np.dtype(IDX_TYPES[content[2]])
    stated, held = math.prod(shape) * dtype.itemsize, len(content) - start
    if held != stated:
        raise ValueError(f"{path} must hold {stated:,} bytes of data for the shape {shape} it states, got {held:,}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


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
        names = tuple(str(label) for label in range(max(int(y_train.max()), int(y_test.max())) + 1))
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
