"""Files that are the former or the new one, whole, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` once it is written; if that fails, `path` stays as it was.

    Parameters
    ----------
    path : Path
        Its folder exists. Beside it, ``NAME.tmp`` is written first; killed meanwhile, a process leaves that behind.
    durable : bool, default True
        Wait for the disk, or a power cut could leave the new name with old blocks.

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
