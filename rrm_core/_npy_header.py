"""The header of NumPy's ``.npy`` format, read from a file that may be damaged."""

from __future__ import annotations

import math
import warnings
from typing import IO, Any, NamedTuple

import numpy as np

_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class NpyHeader(NamedTuple):
    """What a ``.npy`` file holds.

    Attributes
    ----------
    shape : tuple of int
    fortran_order : bool
        True if the first index varies fastest.
    dtype : numpy.dtype
        Possibly of objects, which are pickled in the file.
    """

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[Any]

    @property
    def n_bytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """Read the header at the start of a file; the data follow.

    Raises
    ------
    ValueError
        It is not the header of a ``.npy`` file, of version 1 or 2 of the format.
    OSError
        The file cannot be read.
    """
    try:
        with warnings.catch_warnings():
            # About a header of Python 2, and about damaged literals.
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            if version not in _READERS:
                raise ValueError(f"version {version} of the format")
            header = NpyHeader(*_READERS[version](file))
    except OSError:
        raise
    # NumPy parses the header as a Python literal, and the parser may raise nearly any error.
    except Exception as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(message[:200]) from error
    if any(isinstance(size, bool) or size < 0 for size in header.shape):
        raise ValueError(f"shape {header.shape}"[:200])
    return header
