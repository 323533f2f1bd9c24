"""Sources in memory: an array, or chunks that somebody else fetches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..arrays import convert as arrays
from ..definition.formats import Format
from .source import Part


class InMemory:
    """An array that is there as a whole, or mapped. See `parts.Source`.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.reweight` about its argument `name`.
    """

    ahead = lazy = True

    def __init__(self, name: str, array: Any) -> None:
        self.name = name
        if array.ndim != 1 or isinstance(array, np.ma.MaskedArray):
            arrays.read(name, array, native=False)  # which says what is wrong
        _, self.format = arrays.read_on_host(name, array[:0])
        self.n = int(array.shape[0])
        self._array = array.view(np.ndarray) if isinstance(array, np.memmap) else array  # slices of which cost less

    def parts(self, most: int) -> Iterator[Part]:
        """Yield slices."""
        for start in range(0, self.n, most):
            yield Part(start, min(start + most, self.n), lambda first, last, _: self._array[first:last])

    def check(self) -> None:
        """Do nothing: what was read tells whether it changed."""

    def close(self) -> None:
        """Do nothing."""


class Chunks:
    """Arrays one after the other, from something that begins anew whenever it is asked. See `parts.Source`.

    Raises
    ------
    TypeError
        It isn't such a thing.
    """

    n: int | None = None
    format: Format | None = None
    ahead = lazy = False  # the next chunk may come in the memory of the last

    def __init__(self, name: str, chunks: Any) -> None:
        self.name, self._chunks = name, chunks
        if hasattr(chunks, "to_numpy"):
            raise TypeError(f"{name} must be an array, got {type(chunks).__name__}; pass {name}.to_numpy()")
        if not isinstance(chunks, Iterable):
            raise TypeError(
                f"{name} must be the path of a .npy, .parquet, .arrow or .feather file, an array, or chunks that can "
                f"be read more than once, such as a list of arrays; got {type(chunks).__name__}"
            )
        if iter(chunks) is chunks:
            raise TypeError(
                f"{name} is a {type(chunks).__name__}, which can be read only once, but is needed several times; pass "
                "a list of arrays, or an object whose __iter__ begins anew each time"
            )

    def parts(self, most: int) -> Iterator[Part]:  # noqa: ARG002
        """Yield the chunks as they come."""
        start = 0
        for i, chunk in enumerate(self._chunks):
            array = arrays.read_on_host(self.name, chunk)[0] if isinstance(chunk, (list, tuple)) else chunk
            if not hasattr(array, "shape") or len(array.shape) != 1:
                raise TypeError(
                    f"{self.name}, as chunks, must be one-dimensional arrays; the chunk at index {i} is "
                    f"{type(chunk).__name__}" + _difference(array)
                )
            stop = start + int(array.shape[0])
            yield Part(start, stop, _slices(array, start))
            start = stop

    def check(self) -> None:
        """Do nothing: what was read tells whether it changed."""

    def close(self) -> None:
        """Do nothing."""


def _difference(array: Any) -> str:
    """Say what keeps something from being such an array, or what to do about it."""
    if hasattr(array, "shape"):
        return f" of shape {tuple(array.shape)}"
    if hasattr(array, "to_numpy"):
        return "; pass its to_numpy()"
    return "; make an array of plain numbers" if isinstance(array, (int, float)) else ""


def _slices(array: Any, start: int) -> Any:
    return lambda first, last, _: array[first - start : last - start]
