"""Several files as one source: those of a folder, or of a list."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..definition.formats import Array
from .source import Chunk, Source
from .values import ElementType

ARROW_SUFFIXES = (".arrow", ".feather")
SUFFIXES = (".npy", ".parquet", *ARROW_SUFFIXES)
FILE_KINDS = "a .npy, .parquet, .arrow or .feather file"
MAX_OPEN_PARTS = 64  # with more parts, a file is open only while it is read


class FileSource(Source, Protocol):
    """A source that is one file."""

    n: int
    format: ElementType

    def release(self) -> None:
        """Close the file until it is read again."""


class Parts:
    """Consecutive samples in several files. See `Source`.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    paths : sequence of Path
        The files, in order.
    open_file : callable
        ``open_file(path)`` returns the source of one file.
    folder : Path, optional
        The folder of which they are all files.

    Raises
    ------
    TypeError, ValueError, OSError
        A file is not valid, or of another kind or type than the first.
    """

    def __init__(
        self, name: str, paths: Sequence[Path], open_file: Callable[[Path], FileSource], folder: Path | None = None
    ) -> None:
        self.name = f"{name} ({folder})" if folder is not None else f"{name} ({len(paths)} files)"
        self._paths = paths
        self._folder = folder
        self._parts: list[FileSource] = []
        self._starts: list[int] = []
        self.n = 0
        _check_kinds(name, paths)
        try:
            for path in paths:
                self._append(open_file(path), release=len(paths) > MAX_OPEN_PARTS)
        except BaseException:
            self.close()
            raise
        self.format = self._parts[0].format
        self.stable = all(part.stable for part in self._parts)
        self.random_access = all(part.random_access for part in self._parts)

    def _append(self, part: FileSource, *, release: bool) -> None:
        self._parts.append(part)
        first = self._parts[0]
        if part.format != first.format:
            raise TypeError(
                f"{part.name} holds {part.format.name}, but {first.name} {first.format.name}; convert one of them"
            )
        if release:
            part.release()
        self._starts.append(self.n)
        self.n += part.n

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield the chunks of one file after the other."""
        for start, part in zip(self._starts, self._parts, strict=True):
            for chunk in part.chunks(max_samples):
                yield Chunk(start + chunk.start, start + chunk.stop, _shifted(chunk, start))

    def locate(self, index: int) -> str:
        """Return the row of a sample in its file, for messages."""
        i = bisect_right(self._starts, index) - 1
        return f"row {index - self._starts[i]} of {self._paths[i]}"

    def check(self) -> None:
        """Raise a RuntimeError if a file changed, or the folder has other files. See `StableFile.check`."""
        if self._folder is not None and list_parts(self.name, self._folder) != self._paths:
            raise RuntimeError(f"{self.name} changed while it was read: it has other files; do not modify it meanwhile")
        for part in self._parts:
            part.check()

    def close(self) -> None:
        """Close the files."""
        for part in self._parts:
            part.close()


def _shifted(chunk: Chunk, start: int) -> Callable[[int, int, Array], Any]:
    return lambda first, last, memory: chunk.read(first - start, last - start, memory)


def _check_kinds(name: str, paths: Sequence[Path]) -> None:
    kinds = [_kind(name, path) for path in paths]
    for path, kind in zip(paths, kinds, strict=True):
        if kind != kinds[0]:
            raise ValueError(f"{name} must be files of one kind, got {path} beside {paths[0]}; give one kind alone")


def _kind(name: str, path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{name} must be {FILE_KINDS}, according to its suffix, got {path}")
    return ".arrow" if path.suffix in ARROW_SUFFIXES else path.suffix


def list_parts(name: str, folder: Path) -> list[Path]:
    """Return the files of a folder in natural order: part-2 before part-10.

    Hidden files, those whose names begin with an underscore, such as _SUCCESS, and checksums (.crc) are left out.

    Raises
    ------
    OSError
        The folder cannot be read.
    ValueError
        It has no other files.
    """
    paths = [path for path in folder.iterdir() if not path.name.startswith((".", "_")) and path.suffix != ".crc"]
    if not paths:
        raise ValueError(f"{name}: the folder {folder} has no files to read; each must be {FILE_KINDS}")
    return sorted(paths, key=lambda path: _natural_key(path.name))


def _natural_key(name: str) -> tuple[list[tuple[str, int]], str]:
    """Return a key by which numbers in names are compared as numbers, and equal ones, 1 and 01, as text."""
    pieces = re.findall(r"([^0-9]*)([0-9]*)", name)
    return [(text, int(digits or -1)) for text, digits in pieces], name


def paths_of(argument: Any) -> list[Path] | None:
    """Return the paths that a list or tuple holds, or None if it holds something else.

    Raises
    ------
    TypeError
        It holds paths beside something else.
    """
    if not isinstance(argument, (list, tuple)) or not argument:
        return None
    is_path = [isinstance(item, (str, os.PathLike)) for item in argument]
    if not any(is_path):
        return None
    if not all(is_path):
        odd = argument[is_path.index(False)]
        raise TypeError(f"a list of files must hold paths only, got {type(odd).__name__} at {is_path.index(False)}")
    return [Path(item) for item in argument]
