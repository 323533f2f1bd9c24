"""NumPy's own files, ``.npy``: read and written at any place, without a mapping.

A mapping of a file that another process truncates ends this process; a read that comes back short is an error like any
other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._atomic_write import atomic_write
from ..definition.formats import BY_NAME, Array
from .files import WatchedFile
from .positioned import write_at
from .sinks import blaming
from .source import Part

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class NpyFile:
    """A vector of numbers in a ``.npy`` file.

    Raises
    ------
    OSError
        The file can't be opened.
    TypeError, ValueError
        It isn't a ``.npy`` file, or not one of losses or weights, or it is shorter than its header announces.
    """

    ahead = lazy = True

    def __init__(self, name: str, path: Path) -> None:
        self._file = WatchedFile(name, path)
        self.name = self._file.name
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        with self._file.path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                shape, _, dtype = _HEADERS[version](file)
            except (ValueError, KeyError) as error:
                what = f"version {error} of the format" if isinstance(error, KeyError) else error
                raise ValueError(f"{self.name} isn't a .npy file that holds losses or weights: {what}") from None
            self._begin = file.tell()
        known = None if dtype.hasobject or dtype.kind != "f" else BY_NAME.get(dtype.name)
        if known is None:
            raise TypeError(
                f"{self.name} must hold float16, float32 or float64, got {dtype}; convert them to float32"
                + (" (NumPy doesn't store which type bfloat16 is)" if dtype.kind == "V" and dtype.itemsize == 2 else "")
            )
        if len(shape) != 1:
            raise ValueError(f"{self.name} must be one-dimensional, got shape {shape}")
        self.n, self.format, self._stored = int(shape[0]), known, dtype
        needed = self._begin + self.n * dtype.itemsize
        if self._file.size < needed:
            raise ValueError(
                f"{self.name} is truncated: with {self.n:_} entries of {dtype} it would have {needed:_} bytes, but it "
                f"has {self._file.size:_}"
            )

    def parts(self, most: int) -> Iterator[Part]:
        """Yield ranges of the file."""
        for start in range(0, self.n, most):
            yield Part(start, min(start + most, self.n), self._read)

    def _read(self, first: int, last: int, memory: Array) -> Array:
        size = self._stored.itemsize
        some = memory[: (last - first) * size]
        self._file.read(some, self._begin + first * size)
        return some.view(self._stored)

    def check(self) -> None:
        """See `WatchedFile.check`."""
        self._file.check()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class NpySink:
    """Weights on their way to a ``.npy`` file, in any order. See `sinks.Sink`."""

    ordered = fresh = False

    def __init__(self, path: Path, file: IO[bytes], n: int, dtype: np.dtype[Any]) -> None:
        header = BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n,)}
        )
        self._path, self._file, self._begin, self._size = path, file, header.tell(), dtype.itemsize
        with blaming(path):
            file.write(header.getvalue())
            file.flush()

    def write(self, start: int, weights: Array) -> None:
        """Write the weights of the samples from `start` on."""
        with blaming(self._path):
            write_at(self._file, weights.view(np.uint8), self._begin + start * self._size)

    def end_part(self) -> None:
        """Do nothing: parts leave no trace in the file."""

    def finish(self) -> None:
        """Wait for the disk."""
        with blaming(self._path):
            os.fsync(self._file.fileno())


@contextmanager
def npy_out(path: Path, n: int, dtype: np.dtype[Any]) -> Iterator[NpySink]:
    """Open a ``.npy`` file of `n` weights that takes the place of `path` once it is finished."""
    with atomic_write(path, durable=False) as file:  # `finish` waits for the disk, and says of which file that failed
        yield NpySink(path, file, n, dtype)
