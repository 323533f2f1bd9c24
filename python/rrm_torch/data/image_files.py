"""The images of a data set on disk, indexed like a tensor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rrm_core._arguments import as_integer

from .path_list import PathList

# Pillow runs an interpreter of PostScript for some of the other formats.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000")

DEFAULT_THREADS = 4


class ImageFiles:
    """The images of a data set on disk: they are decoded when they are indexed.

    ``images[index]`` returns what a uint8 tensor of all images would, and stands in for one where a data set doesn't
    fit into memory.

    Parameters
    ----------
    paths : PathList or iterable of str or os.PathLike
        Image files. They aren't opened before they are indexed. A `PathList` is used as it is; anything else is copied
        into one, which takes 8 bytes per path beyond its characters: 1,000,000 paths of 50 characters take 58 MB.
    size : int
        Height and width of the images, in pixels, at least 1.
    resize : int, optional
        Length of an image's shorter side, in pixels, before the centre is cropped to `size`; at least `size`. By
        default ``size * 256 // 224``, which is 256 for a `size` of 224.
    threads : int
        Number of threads that decode a batch, at least 1.

    Raises
    ------
    ValueError
        `size`, `resize` or `threads` is not a whole number in its range.
    TypeError
        `paths` is a single path.

    Notes
    -----
    Scaling is bilinear and antialiased; the longer side is rounded down. Large JPEGs are decoded at a half, a quarter
    or an eighth of their size if both sides are at least twice `resize` then, which is faster and changes most pixels
    by 2 levels at most. Transparent pixels become white, and of several frames the first is read. The
    orientation in the EXIF data is not applied, as is usual in training on these data sets.

    An object can be pickled and sent to the workers of a DataLoader; each worker has `threads` threads of its own.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        size: int,
        *,
        resize: int | None = None,
        threads: int = DEFAULT_THREADS,
    ) -> None:
        self.size = as_integer("size", size, 1, "a whole number of pixels, at least 1")
        if resize is None:
            self.resize = self.size * 256 // 224
        else:
            self.resize = as_integer("resize", resize, self.size, f"a whole number of pixels, at least size={size}")
        self.threads = as_integer("threads", threads, 1, "a whole number, at least 1")
        self.paths = paths if isinstance(paths, PathList) else PathList(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[np.integer[Any]] | Tensor) -> Tensor:
        """Return images, decoded and cropped.

        Parameters
        ----------
        index : int, slice, or integers of shape (batch,)
            Negative ones count from the end.

        Returns
        -------
        torch.Tensor of uint8, shape (batch, 3, size, size)
            Red, green and blue, in the order of `index`, on the CPU. For a single int, of shape (3, size, size).

        Raises
        ------
        FileNotFoundError
            An image file doesn't exist.
        ValueError
            A file can't be read as an image, or `index` has another shape.
        IndexError
            An index is out of range.
        TypeError
            `index` isn't of integers.
        ImportError
            Pillow isn't installed.
        """
        if isinstance(index, slice):
            return self._read_batch(np.arange(*index.indices(len(self))))
        positions = self._positions(index)
        if positions.ndim == 0:
            return self._read_batch(positions[None])[0]
        return self._read_batch(positions)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self):,} images, {self.size}x{self.size}>"

    @property
    def shape(self) -> torch.Size:
        """Shape of the tensor of all images, (n, 3, size, size); no file is opened."""
        return torch.Size((len(self), 3, self.size, self.size))

    @property
    def ndim(self) -> int:
        """Number of dimensions, 4."""
        return 4

    @property
    def dtype(self) -> torch.dtype:
        """Type of the pixels, `torch.uint8`."""
        return torch.uint8

    @property
    def device(self) -> torch.device:
        """Device of the decoded images, the CPU."""
        return torch.device("cpu")

    def _positions(self, index: Any) -> npt.NDArray[np.int64]:
        """Return indices in [0, n), in the shape of `index`."""
        values = index.cpu().numpy() if isinstance(index, Tensor) else np.asarray(index)
        if values.ndim > 1:
            raise ValueError(f"index must be one integer or of shape (batch,), got shape {values.shape}")
        if not values.size:
            return np.empty(0, np.int64)
        if values.dtype.kind not in "iu":
            raise TypeError(f"index must be of integers, got {values.dtype}; convert a mask with .nonzero()")
        n = len(self)
        outside = (values < -n) | (values >= n)
        if outside.any():
            raise IndexError(f"index must lie in [{-n}, {n}), got {values[outside].flat[0]}")
        positions: npt.NDArray[np.int64] = values.astype(np.int64) % n
        return positions

    def _read_batch(self, positions: npt.NDArray[np.int64]) -> Tensor:
        image_module = _import_pillow()
        batch = np.empty((len(positions), 3, self.size, self.size), np.uint8)

        def read(row: int) -> None:
            batch[row] = self._read(image_module, self.paths[int(positions[row])]).transpose(2, 0, 1)

        rows = range(len(positions))
        n_threads = min(self.threads, len(rows))
        if n_threads > 1:
            # A pool that outlives the call would have no threads in a forked process.
            with ThreadPoolExecutor(n_threads) as executor:
                for _ in executor.map(read, rows):
                    pass
        else:
            for row in rows:
                read(row)
        return torch.from_numpy(batch)

    def _read(self, image_module: Any, path: str) -> npt.NDArray[np.uint8]:
        """Return the pixels of one image, of shape (size, size, 3)."""
        try:
            with image_module.open(path, formats=FORMATS) as image:
                image.draft(None, (2 * self.resize, 2 * self.resize))
                return _crop(_as_rgb(image), self.size, self.resize)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"image file {path!r} doesn't exist") from error
        except Exception as error:  # Pillow's decoders raise many kinds of errors where a file is damaged
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"{path!r} can't be read as an image: {reason}; copy it again or leave it out") from error


def _import_pillow() -> Any:
    """Return the module PIL.Image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("image files need Pillow, which is not installed: pip install pillow") from error
    return Image


def _as_rgb(image: Any) -> Any:
    """Return an image in RGB, on white where it is transparent."""
    from PIL import Image

    if image.has_transparency_data:
        background = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(background, image.convert("RGBA"))
    return image.convert("RGB")


def _crop(image: Any, size: int, resize: int) -> npt.NDArray[np.uint8]:
    """Return the centre of an image whose shorter side is scaled to `resize`."""
    from PIL import Image

    width, height = image.size
    shorter = min(width, height)
    left, right = _centre(width, shorter, size, resize)
    top, bottom = _centre(height, shorter, size, resize)
    # The pixels of the whole image, scaled and then cropped, up to rounding: the filter reads beyond the box.
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom)))


def _centre(side: int, shorter: int, size: int, resize: int) -> tuple[float, float]:
    """Return where the crop begins and ends along a side, in pixels of the image before it is scaled."""
    scaled = resize * side // shorter
    start = round((scaled - size) / 2)
    scale = side / scaled
    return start * scale, min((start + size) * scale, side)
