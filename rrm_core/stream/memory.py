"""Sources in memory: an array, and an iterable of chunks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from ..arrays.checks import check_kind, check_one_dimensional
from ..arrays.kinds import as_array
from .source import Chunk
from .values import FLOATS, ElementType, Values


class InMemory:
    """An array, possibly memory-mapped. See `Source`.

    Raises
    ------
    TypeError, ValueError
        `array` is not valid as the argument `name` of `rrm_core.reweight`.
    """

    stable = True
    random_access = True

    def __init__(self, name: str, array: Any, values: Values = FLOATS) -> None:
        self.name = name
        check_kind(name, array)
        check_one_dimensional(name, array)
        _, self.format = values.to_host(name, array[:0])
        self.n = int(array.shape[0])
        # Slices of a plain array are cheaper than those of a memmap.
        self._array = array.view(np.ndarray) if isinstance(array, np.memmap) else array

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield slices."""
        for start in range(0, self.n, max_samples):
            stop = min(start + max_samples, self.n)
            yield Chunk(start, stop, lambda first, last, _: self._array[first:last])

    def check(self) -> None:
        """Do nothing: only the checksum of the losses can show a change."""

    def close(self) -> None:
        """Do nothing."""


class Chunks:
    """Arrays from an iterable that can be iterated repeatedly. See `Source`.

    Raises
    ------
    TypeError
        `chunks` is not such an iterable.
    """

    n: int | None = None
    format: ElementType | None = None
    # The next chunk may reuse the memory of the last one.
    stable = False
    random_access = False

    def __init__(self, name: str, chunks: Any, values: Values = FLOATS) -> None:
        self.name = name
        self._values = values
        self._chunks = chunks
        if not isinstance(chunks, Iterable):
            raise TypeError(
                f"{name} must be the path of a .npy, .parquet, .arrow or .feather file, an array, or chunks that can "
                f"be read more than once, such as a list of arrays; got {type(chunks).__name__}"
            )
        if iter(chunks) is chunks:
            raise TypeError(
                f"{name} is a {type(chunks).__name__}, which can be read only once, but is needed several times; pass "
                "a list of arrays, or an object whose __iter__ starts over each time"
            )

    def chunks(self, max_samples: int) -> Iterator[Chunk]:  # noqa: ARG002
        """Yield the chunks with the sizes they have."""
        start = 0
        for i, chunk in enumerate(self._chunks):
            if isinstance(chunk, (list, tuple)):
                array = self._values.to_host(self.name, chunk)[0]
            else:
                array = as_array(self.name, chunk)
            if is_array_api_obj(array):
                check_kind(self.name, array)
            if not hasattr(array, "shape") or len(array.shape) != 1:
                raise TypeError(
                    f"{self.name}, as chunks, must be one-dimensional arrays; the chunk at index {i} is "
                    f"{type(chunk).__name__}" + _hint(array)
                )
            stop = start + int(array.shape[0])
            yield Chunk(start, stop, _reader(array, start))
            start = stop

    def check(self) -> None:
        """Do nothing: only the checksum of the losses can show a change."""

    def close(self) -> None:
        """Do nothing."""


def _hint(array: Any) -> str:
    """Return the end of the message about an invalid chunk: its shape, or the remedy."""
    if hasattr(array, "shape"):
        return f" of shape {tuple(array.shape)}"
    if isinstance(array, (str, os.PathLike)):
        return "; pass paths in a list"
    if isinstance(array, (int, float)):
        return "; make an array of plain numbers"
    return ""


def _reader(array: Any, start: int) -> Any:
    return lambda first, last, _: array[first - start : last - start]
