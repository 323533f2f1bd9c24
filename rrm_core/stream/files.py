"""Files read and written at given offsets, by several threads at once; a modification while reading is an error."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import IO, Any

from ..definition.formats import Array

# Guards the file position, where the system has no reads and writes at an offset.
_POSITION_LOCK = threading.Lock()


class StableFile:
    """A file opened for reading; a concurrent modification is detected and raised.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    path : Path

    Raises
    ------
    OSError
        The file cannot be opened.
    ValueError
        It is a folder, a pipe or another file that cannot be read again.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = f"{name} ({path})"
        self.path = path
        # Checked first: opening a pipe would block until something writes to it.
        if not stat.S_ISREG(path.stat().st_mode):
            if path.is_dir():
                raise ValueError(f"{self.name} is a folder; a folder is read only if it is given alone")
            raise ValueError(
                f"{self.name} is not a regular file and cannot be read more than once; give a .npy, .parquet, .arrow "
                "or .feather file"
            )
        self._file: IO[bytes] | None = path.open("rb", buffering=0)
        self._identity = _identity(os.fstat(self._file.fileno()))

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._identity[0]

    def read(self, memory: Array, offset: int) -> None:
        """Fill a uint8 array with the bytes from `offset` on.

        Raises
        ------
        RuntimeError
            The file has become too short.
        """
        n_read = self._pread(memory, offset)
        if n_read < len(memory):
            raise RuntimeError(
                f"{self.name} became shorter while it was read: it ended at byte {offset + n_read:_}; do not modify it "
                "meanwhile"
            )

    def read_bytes(self, offset: int, n_bytes: int) -> bytearray:
        """Return the bytes from `offset` on: fewer than `n_bytes` where the file ends before."""
        memory = bytearray(max(min(n_bytes, self.size - offset), 0))
        n_read = self._pread(memoryview(memory), offset)
        del memory[n_read:]
        return memory

    def _pread(self, memory: Any, offset: int) -> int:
        if self._file is not None:
            return pread_full(self._file, memory, offset)
        with self.path.open("rb", buffering=0) as file:
            self._check_identity(_identity(os.fstat(file.fileno())))
            return pread_full(file, memory, offset)

    def check(self) -> None:
        """Raise a RuntimeError if the file at this path was modified, replaced or removed since it was opened."""
        try:
            identity = _identity(self.path.stat())
        except FileNotFoundError:
            raise RuntimeError(f"{self.name} was removed while it was read; do not modify it meanwhile") from None
        self._check_identity(identity)

    def _check_identity(self, identity: tuple[int, int, int, int]) -> None:
        if identity != self._identity:
            raise RuntimeError(
                f"{self.name} changed while it was read: its size, modification time or inode differs; do not modify "
                "it meanwhile"
            )

    def close(self) -> None:
        """Close the file. A later read opens it for its own duration."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev


def pread_full(file: Any, memory: Any, offset: int) -> int:
    """Read from byte `offset` on until `memory`, a uint8 array, is full or the file ends; return the bytes read."""
    n_read = 0
    while n_read < len(memory):
        count = _pread(file, memory[n_read:], offset + n_read)
        if not count:
            break
        n_read += count
    return n_read


def pwrite_full(file: Any, memory: Any, offset: int) -> None:
    """Write all of `memory`, a uint8 array, at byte `offset`."""
    n_written = 0
    while n_written < len(memory):
        n_written += _pwrite(file, memory[n_written:], offset + n_written)


if hasattr(os, "preadv"):

    def _pread(file: Any, memory: Any, offset: int) -> int:
        return os.preadv(file.fileno(), [memory], offset)

    def _pwrite(file: Any, memory: Any, offset: int) -> int:
        return os.pwrite(file.fileno(), memory, offset)

else:  # Windows

    def _pread(file: Any, memory: Any, offset: int) -> int:
        with _POSITION_LOCK:
            file.seek(offset)
            return int(file.readinto(memory) or 0)

    def _pwrite(file: Any, memory: Any, offset: int) -> int:
        with _POSITION_LOCK:
            file.seek(offset)
            return int(file.write(memory) or 0)
