"""Bytes read and written at a place of their own in an open file, by several threads at once."""

from __future__ import annotations

import os
import threading
from typing import Any

_TURN = threading.Lock()  # where a file has one position for all


def read_at(file: Any, memory: Any, offset: int) -> int:
    """Fill `memory`, an array of bytes, with what the file holds from byte `offset` on; return how much that was."""
    done = 0
    while done < len(memory):
        some = _read(file, memory[done:], offset + done)
        if not some:
            break
        done += some
    return done


def write_at(file: Any, memory: Any, offset: int) -> None:
    """Write all of `memory`, an array of bytes, at byte `offset`."""
    done = 0
    while done < len(memory):
        done += _write(file, memory[done:], offset + done)


if hasattr(os, "preadv"):

    def _read(file: Any, memory: Any, offset: int) -> int:
        return os.preadv(file.fileno(), [memory], offset)

    def _write(file: Any, memory: Any, offset: int) -> int:
        return os.pwrite(file.fileno(), memory, offset)

else:  # Windows

    def _read(file: Any, memory: Any, offset: int) -> int:
        with _TURN:
            file.seek(offset)
            return int(file.readinto(memory) or 0)

    def _write(file: Any, memory: Any, offset: int) -> int:
        with _TURN:
            file.seek(offset)
            return int(file.write(memory) or 0)
