"""NumPy's ``.npy`` files, read and written at any offset without memory mapping.

If another process truncates a mapped file, access to it kills this process; a short read is an ordinary error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from .._atomic_write import annotate_os_error, atomic_write
from .._npy_header import read_npy_header
from ..definition.formats import Array
from .files import StableFile, pwrite_full
from .source import Chunk
from .values import FLOATS, Values


class NpyFile:
    """A vector of numbers in a ``.npy`` file. See `Source`.

    Raises
    ------
    OSError
        The file cannot be opened.
    TypeError, ValueError
        It is not a ``.npy`` file, does not hold a vector of such values, or is truncated.
    """

    stable = True
    random_access = True

    def __init__(self, name: str, path: Path, values: Values = FLOATS) -> None:
        self._file = StableFile(name, path)
        self.name = self._file.name
        self._values = values
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        with self._file.path.open("rb") as file:
            try:
                header = read_npy_header(file)
            except ValueError as error:
                raise ValueError(f"{self.name} is not a .npy file that holds {self._values.held}: {error}") from error
            self._data_offset = file.tell()
        dtype = header.dtype
        format = None if dtype.hasobject else self._values.types.get(dtype.name)
        if format is None:
            maybe_bfloat16 = dtype.kind == "V" and dtype.itemsize == 2
            hint = " (NumPy does not store which type bfloat16 is)" if maybe_bfloat16 else ""
            raise TypeError(f"{self.name} must hold {self._values.expected}, got {dtype}; {self._values.remedy}{hint}")
        if len(header.shape) != 1:
            raise ValueError(f"{self.name} must be one-dimensional, got shape {header.shape}")
        self.n = int(header.shape[0])
        self.format = format
        # In the byte order of the file.
        self._dtype = dtype
        expected_size = self._data_offset + header.n_bytes
        if self._file.size < expected_size:
            raise ValueError(
                f"{self.name} is truncated: with {self.n:_} entries of {dtype} it would have {expected_size:_} bytes, "
                f"but it has {self._file.size:_}"
            )

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield ranges of the file."""
        for start in range(0, self.n, max_samples):
            yield Chunk(start, min(start + max_samples, self.n), self._read)

    def _read(self, first: int, last: int, memory: Array) -> Array:
        itemsize = self._dtype.itemsize
        data = memory[: (last - first) * itemsize]
        self._file.read(data, self._data_offset + first * itemsize)
        return data.view(self._dtype)

    def check(self) -> None:
        """Raise a RuntimeError if the file changed. See `StableFile.check`."""
        self._file.check()

    def release(self) -> None:
        """Close the file until it is read again."""
        self._file.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class NpySink:
    """Weights written to a ``.npy`` file in any order. See `Sink`.

    Parameters
    ----------
    path : Path
        The file that the temporary one will replace, for messages.
    file : binary file
        The temporary file.
    n : int
        Number of weights.
    dtype : numpy.dtype
        Their type.
    """

    needs_order = False
    keeps_buffers = False

    def __init__(self, path: Path, file: IO[bytes], n: int, dtype: np.dtype[Any]) -> None:
        header = BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n,)}
        )
        self._path = path
        self._file = file
        self._data_offset = header.tell()
        self._itemsize = dtype.itemsize
        with annotate_os_error(path):
            file.write(header.getvalue())
            file.flush()

    def write(self, start: int, weights: Array) -> None:
        """Write the weights of the samples from index `start` on."""
        with annotate_os_error(self._path):
            pwrite_full(self._file, weights.view(np.uint8), self._data_offset + start * self._itemsize)

    def end_chunk(self) -> None:
        """Do nothing: chunks are not visible in the file."""

    def commit(self) -> None:
        """Do nothing: `atomic_write` flushes to disk."""


@contextmanager
def open_npy_sink(path: Path, n: int, dtype: np.dtype[Any]) -> Iterator[NpySink]:
    """Open a temporary ``.npy`` file of `n` weights that replaces `path` at the end."""
    with atomic_write(path) as file:
        yield NpySink(path, file, n, dtype)
