"""Atomic file replacement: write a temporary file, then rename it. A reader sees the old file or the new one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` at the end; on an error `path` is unchanged.

    Parameters
    ----------
    path : Path
        The file to replace; its folder must exist. The temporary file is ``NAME.tmp`` beside it; it remains only if the
        process is killed.
    durable : bool, default True
        Flush to disk before the rename: otherwise a power failure can leave the new name with old blocks.

    Yields
    ------
    file
        Binary file opened for writing.

    Raises
    ------
    OSError
        The file cannot be written or renamed.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        file = temporary.open("wb")
        try:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        except BaseException:
            # Closing tries to write the buffer again, which may fail again.
            with suppress(OSError):
                file.close()
            raise
        file.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
