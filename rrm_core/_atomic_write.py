"""Atomic writes: a reader sees the old file or the complete new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` once it is complete; on failure, `path` is unchanged.

    Parameters
    ----------
    path : Path
        The target; its folder must exist. ``NAME.tmp`` beside it is written first; it remains if the process is killed.
    durable : bool, default True
        Flush to disk before the rename: otherwise a power failure can leave the new name with old blocks.

    Yields
    ------
    file
        To write bytes to.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        file = unfinished.open("wb")
        try:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):  # of a second attempt to write what the first one couldn't
                file.close()
            raise
        file.close()
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
