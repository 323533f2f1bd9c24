"""A lock on a directory that a process shares with its workers.

The lock belongs to an open file description (`flock`), which the workers inherit: if their parent is killed, the
directory stays locked until the last worker has ended. Lock libraries such as filelock tie a lock to one process.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import reduction
from pathlib import Path
from typing import Any

LOCK_TIMEOUT = 60.0  # seconds that the workers of a killed parent may take to end
POLL_INTERVAL = 0.05  # seconds


class DirectoryLock:
    """The file descriptor of a lock, which can be passed to a child process while that is being started."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __reduce__(self) -> tuple[Callable[[Any], DirectoryLock], tuple[Any]]:
        return _receive, (reduction.DupFd(self.descriptor),)


def _receive(descriptor: Any) -> DirectoryLock:
    return DirectoryLock(descriptor.detach())


@contextmanager
def lock_directory(directory: Path) -> Iterator[DirectoryLock]:
    """Lock a directory, which is created if it does not exist.

    Raises
    ------
    ValueError
        The directory cannot be written, or another process holds the lock.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ValueError(
            f"work folder {str(directory)!r} can't be written: {error.strerror}; choose another"
        ) from error
    try:
        _acquire(descriptor, directory)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield DirectoryLock(descriptor)
    finally:
        # Closing does not unlock while a worker still has the file open; LOCK_UN would.
        os.close(descriptor)


def _acquire(descriptor: int, directory: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace")
        # A holder that does not run was killed, and its workers are about to end; or it has just taken the lock and has
        # not written its process id yet.
        if time.monotonic() > deadline or is_running(holder):
            raise ValueError(
                f"another process ({holder or 'unknown'}) is at work in {str(directory)!r}; wait for it, or "
                "choose another folder"
            )
        time.sleep(POLL_INTERVAL)


def is_running(process: str) -> bool:
    """Return whether there is a process with this id, given as text."""
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        # The process belongs to another user.
        return True
    return True
