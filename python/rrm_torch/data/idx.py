"""IDX, the file format of MNIST."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type code in an IDX file's header -> NumPy type. IDX is big-endian."""


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
