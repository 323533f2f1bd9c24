"""The pickled batches of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_torch.data.memory_limit import refuse_too_large

from .array_unpickler import unpickle_arrays

SHAPE = (3, 32, 32)
"""Shape of an image of CIFAR-10 and CIFAR-100; channels red, green and blue."""


def check_files(folder: Path, names: Sequence[str], origin: str, limit: int) -> None:
    """Raise if a file is missing, or all of them are larger than `limit` bytes; `origin` says what the folder is."""
    files = [folder / name for name in names]
    refuse_too_large(str(folder), sum(file.stat().st_size for file in files if file.is_file()), limit)
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"folder {str(folder)!r} must hold {file.name}; it is the folder {origin}")


def read_batch(path: Path, what: str, keys: Sequence[bytes]) -> dict[bytes, Any]:
    """Read a pickled dict that has some keys.

    Raises
    ------
    ValueError
        The file is damaged, or holds something else.
    """
    batch = unpickle_arrays(path, what)
    if not isinstance(batch, dict) or any(key not in batch for key in keys):
        raise ValueError(f"{path} must hold a dict with {' and '.join(map(repr, keys))}; extract it again")
    return batch


def check_pixels(path: Path, pixels: Any) -> npt.NDArray[np.uint8]:
    """Return the images of a batch, its entry b'data', in shape (n, 3, 32, 32).

    Raises
    ------
    TypeError
        They are no array of uint8.
    ValueError
        The array has another shape.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        dtype = getattr(pixels, "dtype", type(pixels).__name__)
        raise TypeError(f"{path}: b'data' must be an array of uint8, got {dtype}")
    if pixels.ndim != 2 or pixels.shape[1] != np.prod(SHAPE):
        raise ValueError(f"{path}: b'data' must have shape (n, 3072), one row per image, got {pixels.shape}")
    return pixels.reshape(-1, *SHAPE)
