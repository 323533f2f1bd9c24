"""Columns of tables: which one to read, and its nulls as NaN."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..definition.formats import BY_NAME, Array, Format
from ._pyarrow import WEIGHT_COLUMN, pa

FLOATS = ("float16", "float32", "float64")
LISTED_COLUMNS = 20  # columns that an error message lists


class ColumnType(NamedTuple):
    """Name and type of a column; the type is in `FLOATS` if it holds floating-point numbers."""

    name: str
    type: str


def choose_column(name: str, columns: Sequence[ColumnType], column: str | None) -> tuple[int, Format]:
    """Return the index of the column to read, and its type.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    columns : sequence of ColumnType
    column : str, optional
        Name of the column; by default the only floating-point column.

    Raises
    ------
    TypeError, ValueError
        There is no such column, or it is of another type.
    """
    if column is None:
        column = _default_column(name, columns)
    indices = [i for i, other in enumerate(columns) if other.name == column]
    if len(indices) != 1:
        problem = f"has {len(indices)} columns" if indices else "has no column"
        raise ValueError(f"{name} {problem} {column!r}; there are {_column_list(columns)}")
    type = columns[indices[0]].type
    if type not in FLOATS:
        raise TypeError(f"{name}: column {column!r} must be float16, float32 or float64, got {type}; convert it")
    return indices[0], BY_NAME[type]


def _default_column(name: str, columns: Sequence[ColumnType]) -> str:
    floating = [column.name for column in columns if column.type in FLOATS]
    if not name.startswith("losses") and WEIGHT_COLUMN in floating:
        return WEIGHT_COLUMN
    if len(floating) == 1:
        return floating[0]
    remedy = "name one with column" if floating else "one is needed"
    raise ValueError(
        f"{name} has {len(floating)} columns of floating-point numbers; {remedy}; there are {_column_list(columns)}"
    )


def _column_list(columns: Sequence[ColumnType]) -> str:
    listed = ", ".join(f"{name!r} ({type})" for name, type in columns[:LISTED_COLUMNS]) or "none"
    more = len(columns) - LISTED_COLUMNS
    return f"{listed} and {more} more" if more > 0 else listed


@contextmanager
def name_invalid_file(name: str, kind: str) -> Iterator[None]:
    """Convert the errors of an invalid file into a ValueError that names the file."""
    try:
        yield
    except (OSError, ValueError, OverflowError, MemoryError, struct.error, pa.ArrowException) as error:
        # An error of the operating system.
        if getattr(error, "errno", None) is not None:
            raise
        raise ValueError(f"{name} is not a complete {kind} file: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """Return the message of an error, or its type, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def nulls_to_nan(values: Array, bitmap: Array, n_bits_before: int) -> None:
    """Replace nulls by NaN: the values whose bit, after the first `n_bits_before`, is 0."""
    valid = np.unpackbits(bitmap, count=n_bits_before + len(values), bitorder="little")[n_bits_before:]
    values[valid == 0] = np.nan


def reader(values: Array, start: int) -> Callable[[int, int, Array], Array]:
    """Return the function `read` of a chunk whose values, from index `start` on, are in memory."""
    return lambda first, last, _: values[first - start : last - start]
