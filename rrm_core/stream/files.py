"""A file to read, which is noticed if it changes meanwhile."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..definition.formats import Array
from .positioned import read_at


class WatchedFile:
    """A file that is open for reading.

    Parameters
    ----------
    name : str
        The argument that it was given as.
    path : Path

    Raises
    ------
    OSError
        It can't be opened.
    ValueError
        It is a pipe or another thing that can't be read again.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = f"{name} ({path})", path
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its other end
            kind = "a folder" if path.is_dir() else "no regular file, and can't be read more than once"
            raise ValueError(f"{self.name}: this is {kind}; give a .npy, .parquet, .arrow or .feather file")
        self.file = path.open("rb", buffering=0)
        self._known = _identity(os.fstat(self.file.fileno()))

    @property
    def size(self) -> int:
        """Bytes in it."""
        return self._known[0]

    def read(self, memory: Array, offset: int) -> None:
        """Fill an array of bytes with those from `offset` on; raise a RuntimeError if there are too few."""
        found = read_at(self.file, memory, offset)
        if found < len(memory):
            raise RuntimeError(
                f"{self.name} became shorter while it was read: it ended at byte {offset + found:_}; leave it as it is "
                "meanwhile"
            )

    def check(self) -> None:
        """Raise a RuntimeError unless the file of this name is the one that was opened, as it was."""
        try:
            now = _identity(self.path.stat())
        except FileNotFoundError:
            raise RuntimeError(f"{self.name} was removed while it was read; leave it as it is meanwhile") from None
        if now != self._known:
            raise RuntimeError(
                f"{self.name} changed while it was read: its size, time of modification or inode is another; leave it "
                "as it is meanwhile"
            )

    def close(self) -> None:
        """Close it."""
        self.file.close()


def _identity(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev
