"""Columns of tables: which one to read, and its nulls as NaN."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from ..definition.formats import Array
from ._pyarrow import WEIGHT_COLUMN, pa
from .values import ElementType, Values

LISTED_COLUMNS = 20  # columns that an error message lists


class ColumnType(NamedTuple):
    """Name and type of a column; the type is that of NumPy if it holds floating-point numbers or integers."""

    name: str
    type: str


def choose_column(
    name: str, columns: Sequence[ColumnType], column: str | None, values: Values
) -> tuple[int, ElementType]:
    """Return the index of the column to read, and its type.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    columns : sequence of ColumnType
    column : str, optional
        Name of the column; by default the only one that has such values.
    values : Values

    Raises
    ------
    TypeError, ValueError
        There is no such column, or it is of another type.
    """
    if column is None:
        column = _default_column(name, columns, values)
    indices = [i for i, other in enumerate(columns) if other.name == column]
    if len(indices) != 1:
        problem = f"has {len(indices)} columns" if indices else "has no column"
        raise ValueError(f"{name} {problem} {column!r}; there are {_column_list(columns)}")
    type = columns[indices[0]].type
    if type not in values.types:
        raise TypeError(f"{name}: column {column!r} must be {values.expected}, got {type}; {values.remedy}")
    return indices[0], values.types[type]


def _default_column(name: str, columns: Sequence[ColumnType], values: Values) -> str:
    suitable = [column.name for column in columns if column.type in values.types]
    if not name.startswith("losses") and WEIGHT_COLUMN in suitable:
        return WEIGHT_COLUMN
    if len(suitable) == 1:
        return suitable[0]
    remedy = "name one with column" if suitable else "one is needed"
    if name.startswith("groups") and suitable:
        remedy = "give a file with one"
    raise ValueError(
        f"{name} has {len(suitable)} columns of {values.described}; {remedy}; there are {_column_list(columns)}"
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


def nulls_in(bitmap: Array, n: int, n_bits_before: int) -> Array:
    """Return which of `n` values are null: those whose bit, after the first `n_bits_before`, is 0."""
    is_null: Array = np.unpackbits(bitmap, count=n_bits_before + n, bitorder="little")[n_bits_before:] == 0
    return is_null


def reader(values: Array, start: int) -> Callable[[int, int, Array], Array]:
    """Return the function `read` of a chunk whose values, from index `start` on, are in memory."""
    return lambda first, last, _: values[first - start : last - start]
