"""Atomic file replacement: write a temporary file, then rename it. A reader sees the old file or the new one, whole."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import IO

MAX_LINKS = 40  # symbolic links that lead to one file, as in the Linux kernel
MAX_NAME_BYTES = 100  # of the output's name in that of the temporary file; file systems allow 143 to 255 in all

_written: ContextVar[set[Path] | None] = ContextVar("_written", default=None)


@contextmanager
def atomic_write(path: str | os.PathLike[str], *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` at the end; on any exception before, `path` is unchanged.

    The temporary file ``NAME.<16 hexadecimal digits>.tmp`` is in the folder of `path`; it remains only if the process
    is killed. Several processes can write to one path at the same time: the last one to finish determines the content.

    Parameters
    ----------
    path : path
        The file to write. A symbolic link is followed: it stays, and the file that it leads to is written. A file that
        exists keeps its permissions, and its owner and group where that is permitted; a new one has those that any
        new file has.
    durable : bool, default True
        Flush to disk before the rename: otherwise a power failure can leave the new name with old blocks.

    Yields
    ------
    file
        Binary file opened for writing.

    Raises
    ------
    OSError
        The file cannot be written or renamed, or `path` cannot be replaced. See `resolve_output`.
    """
    target = resolve_output(path)
    temporary = _temporary_path(target)
    old_status = _status(target)
    mode = 0o666 if old_status is None else 0o600
    file: IO[bytes] | None = None
    status = None
    try:
        with annotate_os_error(path):
            # The system applies the umask: Python can read it only by changing it, for all threads.
            file = open(temporary, "xb", opener=partial(os.open, mode=mode))  # noqa: SIM115
            status = os.fstat(file.fileno())
        yield file
        with annotate_os_error(path):
            file.flush()
            _copy_access(_status(target) or old_status, file.fileno())
            if durable:
                os.fsync(file.fileno())
            file.close()
            temporary.replace(target)
        _note_written(path)
    except BaseException:
        try:
            if file is not None:
                # Closing tries to write the buffer again, which may fail again.
                with suppress(OSError):
                    file.close()
        finally:
            # An interrupt may have come between the rename and the next instruction.
            if status is not None and _is_file(target, status):
                _note_written(path)
            else:
                with suppress(OSError):
                    temporary.unlink()
        raise
    if durable:
        _sync_folder(target.parent)


def resolve_output(path: str | os.PathLike[str], name: str = "output") -> Path:
    """Follow the symbolic links of an output, and check that a file can be written there.

    Parameters
    ----------
    path : path
    name : str
        Name of the argument, for messages.

    Returns
    -------
    Path
        `path`, or the path that its links lead to; it need not exist.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    IsADirectoryError
        It is a folder.
    PermissionError
        No file can be created in the folder.
    OSError
        It is a device, a pipe or another file that a rename would destroy, or the links form a loop.
    """
    target = Path(path)
    status = _status(target)
    if status is not None and stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{name}: {target} is a folder; name a file in it")
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise OSError(f"{name}: {target} is not a regular file, such as a device or a pipe; name another file")
    for _ in range(MAX_LINKS):
        if not target.is_symlink():
            break
        target = target.parent / target.readlink()
    else:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {target.parent} for {target.name}; create it first")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(
            f"{name}: no file can be created in {target.parent}; choose another folder, or change its permissions"
        )
    return target


@contextmanager
def record_written() -> Iterator[set[Path]]:
    """Yield the set of paths that `atomic_write` has written since, at every moment, in this thread."""
    written: set[Path] = set()
    token = _written.set(written)
    try:
        yield written
    finally:
        _written.reset(token)


@contextmanager
def annotate_os_error(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add to an OSError that `path`, which a temporary file was to replace, was not written."""
    try:
        yield
    except OSError as error:
        outcome = f"{path} was not written"
        if error.errno is None:
            raise OSError(f"{error}; {outcome}") from error
        raise OSError(error.errno, f"{error.strerror}; {outcome}") from error


def _note_written(path: str | os.PathLike[str]) -> None:
    written = _written.get()
    if written is not None:
        written.add(Path(path))


def _temporary_path(target: Path) -> Path:
    """Return a path in the same folder that no file has."""
    name = target.name
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        name = "rrm_core"
    while True:
        temporary = target.with_name(f"{name}.{os.urandom(8).hex()}.tmp")
        if not os.path.lexists(temporary):
            return temporary


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a file, or None if there is none."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _is_file(path: Path, status: os.stat_result) -> bool:
    """Return whether the file at `path` is the one with this status."""
    try:
        return os.path.samestat(path.stat(), status)
    except OSError:
        return False


if sys.platform == "win32":

    def _copy_access(status: os.stat_result | None, descriptor: int) -> None:
        """Do nothing: a new file inherits the access rights of its folder."""

    def _sync_folder(folder: Path) -> None:
        """Do nothing: folders cannot be opened."""

else:

    def _copy_access(status: os.stat_result | None, descriptor: int) -> None:
        """Give the open file owner, group and permissions of the file with this status, as far as permitted."""
        if status is None:
            return
        mode = status.st_mode & 0o777
        try:
            os.fchown(descriptor, -1, status.st_gid)
        except OSError:
            # Another group must not get the permissions of the old one.
            mode &= ~0o070 | (mode & 0o007) << 3
        # Permissions before the owner: the file of another one cannot be changed any more.
        with suppress(OSError):
            os.fchmod(descriptor, mode)
        with suppress(OSError):
            os.fchown(descriptor, status.st_uid, -1)

    def _sync_folder(folder: Path) -> None:
        """Flush a rename in the folder to disk, where that is possible."""
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
