"""The file of a checkpoint: a zip archive by ``torch.save``, whose comment holds the SHA-256 of the archive."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor

COMMENT = b"rrm_torch checkpoint; SHA-256 of this archive without the comment: "

# The length of an archive's comment, its last field, is 0 as torch.save writes it.
NO_COMMENT = struct.pack("<H", 0)
TAIL_BYTES = len(NO_COMMENT) + len(COMMENT) + 2 * hashlib.sha256().digest_size

CHUNK_BYTES = 1 << 20

# A tensor may be expanded, that is, have more elements than its storage, up to this size.
EXPANDED_BYTES = 1 << 26

# Walking the content may visit this many times as many objects as its pickle has bytes, because some occur repeatedly.
REPEATS = 10


class _HashingFile:
    """A file to write to, which hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Write bytes or a buffer."""
        n_bytes = self.file.write(data)
        self.digest.update(data)
        return n_bytes

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()


def write(content: Any, file: IO[bytes]) -> None:
    """Write a checkpoint to an empty, seekable file.

    Raises
    ------
    OSError
        The file can't be written.
    """
    hashing = _HashingFile(file)
    try:
        # All that torch uses of a file are these two methods.
        torch.save(content, cast(IO[bytes], hashing))
    except RuntimeError as error:
        # After a failed or interrupted write torch tries to end the archive, and raises an error about that.
        if error.__context__ is not None:
            raise error.__context__ from None
        raise
    file.seek(-len(NO_COMMENT), os.SEEK_END)
    file.write(_tail(hashing.digest.hexdigest()))


def read(file: BinaryIO) -> Any:
    """Return the content of a checkpoint, which is as `write` got it: the digest covers every bit of the file.

    The digest detects damage, not forgery. No object is made that is much larger than the file: the archive isn't
    compressed, torch checks the sizes of its storages, and `weights_only=True` runs no code of the file.

    Raises
    ------
    ValueError
        The file isn't a checkpoint, or is damaged; the message says which.
    OSError
        The file can't be read.
    """
    size = file.seek(0, os.SEEK_END)
    _check_digest(file, size)
    try:
        with zipfile.ZipFile(file) as archive:
            pickle_bytes = _pickle_bytes(archive, size)
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=False)
        check_content(content, REPEATS * pickle_bytes)
    except Exception as error:  # zipfile and torch document none of theirs
        raise ValueError(first_line(error)) from error
    return content


def check_content(content: Any, max_objects: int) -> None:
    """Raise ValueError if a content would grow when it is walked or copied.

    Containers that occur repeatedly in one another, and expanded tensors, take no space in a file.
    """
    n_objects = 1
    pending = [content]
    while pending:
        value = pending.pop()
        if isinstance(value, Tensor):
            _check_tensor(value)
        elif isinstance(value, (dict, list, tuple, set)):
            n_objects += len(value) * (2 if isinstance(value, dict) else 1)
            if n_objects > max_objects:
                raise ValueError("its containers occur in one another more often than those of a checkpoint")
            pending.extend(value)
            if isinstance(value, dict):
                pending.extend(value.values())


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type."""
    return " ".join(str(error).split("\n")[0].split())[:200] or type(error).__name__


def _check_tensor(tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.nbytes <= EXPANDED_BYTES:
        return
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ValueError(
            f"a tensor of shape {tuple(tensor.shape)} is expanded from fewer elements; store tensor.contiguous()"
        )


def _check_digest(file: BinaryIO, size: int) -> None:
    """Raise ValueError unless the file's comment holds its digest."""
    file.seek(0)
    digest = hashlib.sha256()
    remaining = max(size - TAIL_BYTES, 0)
    while remaining:
        chunk = file.read(min(CHUNK_BYTES, remaining))
        if not chunk:
            raise ValueError("it became shorter while it was read")
        digest.update(chunk)
        remaining -= len(chunk)
    digest.update(NO_COMMENT)
    tail = file.read(TAIL_BYTES)
    if COMMENT not in tail:
        raise ValueError("its end, where the digest is, is missing")
    if tail != _tail(digest.hexdigest()):
        raise ValueError("it is damaged: its content has another SHA-256 than when it was written")


def _pickle_bytes(archive: zipfile.ZipFile, size: int) -> int:
    """Return the size of the pickle in an archive; raise ValueError if its members are compressed."""
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its archive is compressed, unlike those of torch.save")
    if sum(member.file_size for member in members) > size:
        raise ValueError("the members of its archive are larger than the file")
    return sum(member.file_size for member in members if member.filename.endswith("/data.pkl"))


def _tail(digest: str) -> bytes:
    comment = COMMENT + digest.encode()
    return struct.pack("<H", len(comment)) + comment
