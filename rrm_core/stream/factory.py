"""From what a caller gives to a source or a sink."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import is_array_api_obj

from .memory import Chunks, InMemory
from .npy import NpyFile, npy_out
from .sinks import HandingOver, Sink
from .source import Source

ARROW = (".arrow", ".feather")
KINDS = "a .npy, .parquet, .arrow or .feather file"
Opener: TypeAlias = "Callable[[int, np.dtype[Any]], AbstractContextManager[Sink]]"


def open_source(name: str, given: Any, column: str | None, memory: int) -> Source:
    """Return the source that the argument called `name` stands for."""
    if isinstance(given, (str, os.PathLike)):
        path = Path(given)
        if path.suffix == ".npy":
            _refuse_column(column, f"{path} is a .npy file")
            return NpyFile(name, path)
        if path.suffix != ".parquet" and path.suffix not in ARROW:
            raise ValueError(f"{name} must be {KINDS}, by the end of its name, got {path}")
        from . import arrow  # which imports pyarrow

        kind = arrow.ParquetColumn if path.suffix == ".parquet" else arrow.ArrowColumn
        return kind(name, path, column, memory)
    _refuse_column(column, f"{name} are given as {type(given).__name__}")
    return InMemory(name, given) if is_array_api_obj(given) else Chunks(name, given)


def open_sink(out: Any, sources: dict[str, Any], *, few: bool) -> Opener:
    """Return what opens the sink that `out` stands for, once it is known how many weights there are, and their type.

    `sources` are the arguments that are read; `few` says that the weights have but a few values.

    Raises
    ------
    OSError, TypeError, ValueError
        It can't be written, or would take the place of the losses.
    """
    if isinstance(out, (str, os.PathLike)):
        path = Path(out)
        if path.suffix not in (".npy", ".parquet", *ARROW):
            raise ValueError(f"out must be {KINDS}, by the end of its name, got {path}")
        _require_place(path, sources)
        if path.suffix == ".npy":
            return lambda n, dtype: npy_out(path, n, dtype)
        from . import arrow  # which imports pyarrow

        return lambda _, dtype: arrow.table_out(path, dtype, few=few)
    if not callable(out):
        raise TypeError(
            f"out must be the path of {KINDS}, or a function that takes the weights array by array, got "
            f"{type(out).__name__}"
        )
    return lambda _, __: nullcontext(HandingOver(out))


def _refuse_column(column: str | None, why: str) -> None:
    if column is not None:
        raise ValueError(f"column={column!r} names a column of a Parquet or Arrow file, but {why}; leave it out")


def _require_place(path: Path, sources: dict[str, Any]) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"out: there is no folder {path.parent} for {path.name}; make it first")
    if path.is_dir():
        raise IsADirectoryError(f"out: {path} is a folder; name a file in it")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"out: no file can be made in {path.parent}; choose another folder, or change its mode")
    unfinished = path.with_name(path.name + ".tmp")
    for name, given in sources.items():
        there = _file_of(given)
        if there is None:
            continue
        if name == "losses" and _same(path, there):
            raise ValueError(f"out is the file of the losses, {path}, which are never overwritten; name another")
        if _same(unfinished, there):
            raise ValueError(f"out is written as {unfinished} first, which is the file of the {name}; name another")


def _file_of(given: Any) -> Path | None:
    """Return the file that an argument is read from, if that is known."""
    if isinstance(given, (str, os.PathLike)):
        return Path(given)
    while isinstance(given, np.ndarray):
        if isinstance(given, np.memmap) and given.filename is not None:
            return Path(given.filename)
        given = given.base
    return None


def _same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them isn't there
        return False
