"""Sources and sinks for the arguments of a streaming call."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import is_array_api_obj

from .._atomic_write import resolve_output
from .memory import Chunks, InMemory
from .npy import NpyFile, open_npy_sink
from .sinks import CallbackSink, Sink
from .source import Source

ARROW_SUFFIXES = (".arrow", ".feather")
FILE_KINDS = "a .npy, .parquet, .arrow or .feather file"
SinkFactory: TypeAlias = "Callable[[int, np.dtype[Any]], AbstractContextManager[Sink]]"


def open_source(name: str, argument: Any, column: str | None, memory: int) -> Source:
    """Open a source.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    argument : path, array, or iterable of arrays
    column : str, optional
        Column of a Parquet or Arrow file.
    memory : int
        Bytes of a file that may be decoded at a time.

    Raises
    ------
    TypeError, ValueError, OSError, ImportError
        See `rrm_core.stream.plan`.
    """
    if not isinstance(argument, (str, os.PathLike)):
        _refuse_column(column, f"{name} are given as {type(argument).__name__}")
        if is_array_api_obj(argument):
            return InMemory(name, argument)
        return Chunks(name, argument)
    path = Path(argument)
    if path.suffix == ".npy":
        _refuse_column(column, f"{path} is a .npy file")
        return NpyFile(name, path)
    if path.suffix == ".parquet":
        # Imported only here, because it imports pyarrow.
        from .arrow_source import ParquetColumn

        return ParquetColumn(name, path, column, memory)
    if path.suffix in ARROW_SUFFIXES:
        from .arrow_source import ArrowColumn

        return ArrowColumn(name, path, column, memory)
    raise ValueError(f"{name} must be {FILE_KINDS}, according to its suffix, got {path}")


def sink_factory(out: Any, losses: Any, *, few_values: bool) -> SinkFactory:
    """Return a function ``(n, dtype)`` that opens the sink, which can be called once the losses are planned.

    Parameters
    ----------
    out : path or callable
    losses : path, array, or iterable of arrays
        The argument that is read, which `out` must not replace.
    few_values : bool
        True if the weights have only a few distinct values.

    Raises
    ------
    OSError, TypeError, ValueError
        `out` cannot be written, or would replace the losses.
    """
    if not isinstance(out, (str, os.PathLike)):
        if not callable(out):
            raise TypeError(
                f"out must be the path of {FILE_KINDS}, or a function that takes the weights array by array, got "
                f"{type(out).__name__}"
            )
        return lambda _, __: nullcontext(CallbackSink(out))
    path = Path(out)
    if path.suffix not in (".npy", ".parquet", *ARROW_SUFFIXES):
        raise ValueError(f"out must be {FILE_KINDS}, according to its suffix, got {path}")
    resolve_output(path, "out")
    _check_overwrites(path, losses)
    if path.suffix == ".npy":
        return lambda n, dtype: open_npy_sink(path, n, dtype)
    # Imported only here, because it imports pyarrow.
    from .arrow_sink import open_table_sink

    return lambda _, dtype: open_table_sink(path, dtype, few_values=few_values)


def _refuse_column(column: str | None, reason: str) -> None:
    if column is not None:
        raise ValueError(f"column={column!r} names a column of a Parquet or Arrow file, but {reason}; leave it out")


def _check_overwrites(path: Path, losses: Any) -> None:
    """Raise a ValueError if `path` is the file of the losses."""
    source = _file_of(losses)
    if source is not None and _same_file(path, source):
        raise ValueError(f"out is the file of the losses, {path}, which are never overwritten; name another")


def _file_of(argument: Any) -> Path | None:
    """Return the file that an argument is read from, if known: that of a path or of a memory-mapped array."""
    if isinstance(argument, (str, os.PathLike)):
        return Path(argument)
    while isinstance(argument, np.ndarray):
        if isinstance(argument, np.memmap) and argument.filename is not None:
            return Path(argument.filename)
        argument = argument.base
    return None


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them does not exist
        return False
