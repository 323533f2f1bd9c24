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
from ..arrays.groups import Groups
from ..arrays.kinds import as_array
from .memory import Chunks, InMemory
from .npy import NpyFile, open_npy_sink
from .parts import ARROW_SUFFIXES, FILE_KINDS, SUFFIXES, FileSource, Parts, list_parts, paths_of
from .sinks import CallbackSink, Sink
from .source import Source
from .values import FLOATS, INTEGERS, Values

SinkFactory: TypeAlias = "Callable[[int, np.dtype[Any]], AbstractContextManager[Sink]]"


def open_source(name: str, argument: Any, column: str | None, memory: int, values: Values = FLOATS) -> Source:
    """Open a source.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    argument : path, list of paths, array, or iterable of arrays
    column : str, optional
        Column of a Parquet or Arrow file.
    memory : int
        Bytes of a file that may be decoded at a time.
    values : Values

    Raises
    ------
    TypeError, ValueError, OSError, ImportError
        See `rrm_core.stream.plan`.
    """

    def open_file(path: Path) -> FileSource:
        return _open_file(name, path, column, memory, values)

    paths = paths_of(argument)
    if paths is not None:
        return Parts(name, paths, open_file)
    if not isinstance(argument, (str, os.PathLike)):
        _refuse_column(name, column, f"{name} are given as {type(argument).__name__}")
        argument = as_array(name, argument)
        if is_array_api_obj(argument):
            return InMemory(name, argument, values)
        return Chunks(name, argument, values)
    path = Path(argument)
    if path.is_dir():
        return Parts(name, list_parts(name, path), open_file, path)
    return open_file(path)


def open_groups(groups: Any, losses: Any, memory: int) -> Source:
    """Open the source of the numbers of groups.

    Parameters
    ----------
    groups : path, list of paths, array, Groups, iterable of arrays, or str
        A string without the suffix of a file is the name of a column in the files of the losses.
    losses : path, list of paths, array, or iterable of arrays
        The argument.
    memory : int
        Bytes of a file that may be decoded at a time.

    Raises
    ------
    TypeError, ValueError, OSError, ImportError
        See `rrm_core.stream.plan`.
    """
    if isinstance(groups, Groups):
        groups = groups.numbers
    if not isinstance(groups, str) or Path(groups).suffix in SUFFIXES:
        return open_source("groups", groups, None, memory, INTEGERS)
    if not isinstance(losses, (str, os.PathLike)) and paths_of(losses) is None:
        raise ValueError(
            f"groups={groups!r} names a column in the files of the losses, but losses are given as "
            f"{type(losses).__name__}; pass the group of each loss in the same way, or {FILE_KINDS}"
        )
    return open_source("groups", losses, groups, memory, INTEGERS)


def _open_file(name: str, path: Path, column: str | None, memory: int, values: Values) -> FileSource:
    """Open a file as a source, according to its suffix."""
    if path.suffix == ".npy":
        _refuse_column(name, column, f"{path} is a .npy file")
        return NpyFile(name, path, values)
    if path.suffix == ".parquet":
        # Imported only here, because it imports pyarrow.
        from .parquet_source import ParquetColumn

        return ParquetColumn(name, path, column, memory, values)
    if path.suffix in ARROW_SUFFIXES:
        from .arrow_source import ArrowColumn

        return ArrowColumn(name, path, column, memory, values)
    raise ValueError(f"{name} must be {FILE_KINDS}, according to its suffix, got {path}")


def sink_factory(out: Any, losses: Any, weights: Any, groups: Any, *, few_values: bool) -> SinkFactory:
    """Return a function ``(n, dtype)`` that opens the sink, which can be called once the losses are planned.

    Parameters
    ----------
    out : path or callable
    losses, weights, groups : path, list of paths, array, or iterable of arrays
        The arguments that are read. `out` must not replace a file of the losses or the groups, nor one of several files
        of weights.
    few_values : bool
        True if the weights have only a few distinct values.

    Raises
    ------
    OSError, TypeError, ValueError
        `out` cannot be written, or would replace what is read.
    """
    if not isinstance(out, (str, os.PathLike)):
        if not callable(out):
            raise TypeError(
                f"out must be the path of {FILE_KINDS}, or a function that takes the weights array by array, got "
                f"{type(out).__name__}"
            )
        return lambda _, __: nullcontext(CallbackSink(out))
    path = Path(out)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"out must be {FILE_KINDS}, according to its suffix, got {path}")
    resolve_output(path, "out")
    _check_overwrites(path, losses, weights, groups)
    if path.suffix == ".npy":
        return lambda n, dtype: open_npy_sink(path, n, dtype)
    # Imported only here, because it imports pyarrow.
    from .arrow_sink import open_table_sink

    return lambda _, dtype: open_table_sink(path, dtype, few_values=few_values)


def _refuse_column(name: str, column: str | None, reason: str) -> None:
    if column is None:
        return
    argument, remedy = "column", "leave it out"
    if name == "groups":
        argument, remedy = "groups", f"give the groups in {FILE_KINDS}"
    raise ValueError(f"{argument}={column!r} names a column of a Parquet or Arrow file, but {reason}; {remedy}")


def _check_overwrites(path: Path, losses: Any, weights: Any, groups: Any) -> None:
    """Raise a ValueError if `path` is a file of the losses or groups, or one of several files that are read."""
    for name, argument in (("losses", losses), ("groups", groups)):
        source = _file_of(argument)
        if source is not None and _same_file(path, source):
            raise ValueError(f"out is the file of the {name}, {path}, which are never overwritten; name another")
    for name, argument in (("losses", losses), ("weights", weights), ("groups", groups)):
        if any(_same_file(path, part) for part in paths_of(argument) or ()):
            raise ValueError(f"out is one of the files of the {name}, {path}; name another")
        if isinstance(argument, (str, os.PathLike)) and _same_file(path.parent, Path(argument)):
            raise ValueError(
                f"out lies in the folder of the {name}, {argument}, and would be one of them; name another"
            )


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
