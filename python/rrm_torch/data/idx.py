"""Reader of IDX, the file format of MNIST."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""NumPy types by the type code in an IDX file's header. IDX is big-endian."""


def read_idx(path: str | Path, ndim: int) -> npt.NDArray[Any]:
    """Read an IDX file (LeCun, Cortes and Burges 1998).

    Parameters
    ----------
    path : str or Path
        The file; gzip-compressed if its name ends in .gz.
    ndim : int
        Expected number of dimensions.

    Returns
    -------
    np.ndarray with `ndim` dimensions
        The array, of the type stated in the file, in native byte order.

    Raises
    ------
    FileNotFoundError
        The file doesn't exist.
    ValueError
        The file doesn't have an IDX header, has another number of dimensions, or holds more or less data than its
        header states.

    Notes
    -----
    An IDX file consists of two zero bytes, a type code, the number of dimensions, the size of each dimension as a
    big-endian 32-bit integer, and the elements, big-endian, in C order.
    """
    path = Path(path)
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} isn't a valid gzip file: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ValueError(f"{path} isn't an IDX file: it begins with the bytes {content[:4].hex(' ') or '(none)'}")
    if content[3] != ndim:
        raise ValueError(f"{path} must hold an array with {ndim} dimensions, got {content[3]}")
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(f"{path} ends within its header, after {len(content)} of {start} bytes")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", ndim, offset=4))
    dtype = np.dtype(IDX_TYPES[content[2]])
    expected_size = math.prod(shape) * dtype.itemsize
    data_size = len(content) - start
    if data_size != expected_size:
        raise ValueError(f"{path} must hold {expected_size:,} bytes of data for its shape {shape}, got {data_size:,}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
