"""Reader of IDX, the file format of MNIST."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .memory_limit import check_max_bytes, refuse_too_large
from .npz import read_into

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy types by the type code in an IDX file's header. IDX is big-endian."""


def read_idx(path: str | Path, ndim: int, max_bytes: int | None = None) -> npt.NDArray[Any]:
    """Read an IDX file (LeCun, Cortes and Burges 1998).

    Parameters
    ----------
    path : str or Path
        The file; gzip-compressed if its name ends in .gz.
    ndim : int
        Expected number of dimensions.
    max_bytes : int, optional
        Bytes that the array may take; by default a quarter of this machine's memory.

    Returns
    -------
    np.ndarray with `ndim` dimensions
        The array, of the type stated in the file, in native byte order.

    Raises
    ------
    FileNotFoundError
        The file doesn't exist.
    ValueError
        The file doesn't have an IDX header, has another number of dimensions, holds more or less data than its header
        states, or states more than `max_bytes`.

    Notes
    -----
    An IDX file consists of two zero bytes, a type code, the number of dimensions, the size of each dimension as a
    big-endian 32-bit integer, and the elements, big-endian, in C order. The header is read first, and no more data are
    decompressed than it states.
    """
    path = Path(path)
    limit = check_max_bytes(max_bytes)
    if path.suffix != ".gz":
        with path.open("rb") as file:
            return _read(file, path, ndim, limit, os.fstat(file.fileno()).st_size)
    try:
        with gzip.open(path, "rb") as file:
            return _read(file, path, ndim, limit)
    except (OSError, EOFError, zlib.error) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{path} isn't a valid gzip file: {error}") from error


def _read(
    file: IO[bytes] | gzip.GzipFile, path: Path, ndim: int, limit: int, size: int | None = None
) -> npt.NDArray[Any]:
    """Read an array; `size` is that of the file in bytes, if known."""
    shape, dtype = _read_header(file, path, ndim)
    n_bytes = math.prod(shape) * dtype.itemsize
    refuse_too_large(str(path), n_bytes, limit)
    requirement = f"{path} must hold {n_bytes:,} bytes of data for its shape {shape}, got"
    if size is not None and size != file.tell() + n_bytes:
        raise ValueError(f"{requirement} {size - file.tell():,}")
    memory = np.empty(n_bytes, np.uint8)
    n_read = read_into(file, memory)
    if n_read < n_bytes:
        raise ValueError(f"{requirement} {n_read:,}")
    # This also reads the checksum of gzip.
    if file.read(1):
        raise ValueError(f"{requirement} more")
    return memory.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_header(file: IO[bytes] | gzip.GzipFile, path: Path, ndim: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the shape and the type."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES:
        raise ValueError(f"{path} isn't an IDX file: it begins with the bytes {start.hex(' ') or '(none)'}")
    if start[3] != ndim:
        raise ValueError(f"{path} must hold an array with {ndim} dimensions, got {start[3]}")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"{path} ends within its header, after {4 + len(sizes)} of {4 + 4 * ndim} bytes")
    return tuple(int(size) for size in np.frombuffer(sizes, ">u4")), np.dtype(IDX_TYPES[start[2]])
