"""Paths of many files, in little memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np


class PathList(Sequence[str]):
    """An immutable list of paths that takes 8 bytes per path beyond its characters.

    A list of strings takes about 60 bytes per path beyond them, and one of `pathlib.Path` about 300.

    Parameters
    ----------
    names : iterable of str or os.PathLike
        Paths, relative to `folder` if there is one.
    folder : str or os.PathLike, optional
        What all paths begin with; stored once.

    Raises
    ------
    TypeError
        `names` is a single path.
    """

    def __init__(self, names: Iterable[str | os.PathLike[str]], folder: str | os.PathLike[str] = "") -> None:
        if isinstance(names, (str, bytes, os.PathLike)):
            raise TypeError(f"paths must be a list of paths, got the single path {names!r}; put it into a list")
        encoded = [os.fsencode(name) for name in names]
        self._folder = os.fspath(folder)
        self._ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)))
        self._characters = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._path(position) for position in range(*index.indices(len(self)))]
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"index must lie in [{-n}, {n}), got {index}")
        return self._path(index % n)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self):,} paths>"

    @property
    def nbytes(self) -> int:
        """Bytes that the paths take together."""
        return len(self._characters) + self._ends.nbytes

    def _path(self, position: int) -> str:
        start = self._ends[position - 1] if position else 0
        name = os.fsdecode(self._characters[start : self._ends[position]])
        return f"{self._folder}/{name}" if self._folder else name
