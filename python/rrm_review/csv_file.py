"""Tables as CSV files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_core._atomic_write import atomic_write

from .csv_numbers import Cells, format_numbers
from .csv_texts import Texts, format_texts

ROWS = 1 << 15  # formatted at a time: their text fits into the cache of the processor
MAX_BYTES = 1 << 26  # of their text


def to_csv(issues: Mapping[str, npt.ArrayLike], path: str | os.PathLike[str], *, escape_formulas: bool = False) -> None:
    r"""Write a table to a CSV file, whole or not at all.

    Parameters
    ----------
    issues : mapping of str to array, shape (n,)
        The columns: booleans, integers, floating-point numbers or strings.
    path : str or path
        The file; an existing one is replaced.
    escape_formulas : bool, default False
        Write an apostrophe before each string that a spreadsheet may execute: one that begins with ``=``, ``+``,
        ``-``, ``@``, a full-width form of these, a tab or a line break, and is no number. By default strings are
        written as they are.

    Raises
    ------
    TypeError
        A column holds other types than these, or its name is no string.
    ValueError
        The columns differ in length or aren't one-dimensional, there is none, or a string holds a NUL or a surrogate
        that is no byte of a file name. The file is as before the call.
    OSError
        The file can't be written. It is as before the call.

    Warns
    -----
    UserWarning
        Strings that a spreadsheet may execute are written as they are.

    Notes
    -----
    UTF-8, a header, commas, lines that end with ``\n``. Strings with a comma, a quotation mark or a line break, and
    empty ones, are quoted, and quotation marks doubled. Numbers read back as the same numbers in their type: float32
    have up to nine significant digits. NaN and infinity are ``nan`` and ``inf``. Surrogates, by which Python stands for
    the bytes of file names that aren't UTF-8, are written as these bytes.
    """
    columns = read_columns(issues)
    n_rows = len(next(iter(columns.values())))
    formulas: list[str] = []
    with atomic_write(path) as file:
        names = format_texts("the names of columns of issues", list(columns), escape_formulas, formulas)
        file.write(_join([names.cells(i, i + 1) for i in range(len(columns))]))
        for start in range(0, n_rows, ROWS):
            rows = {name: column[start : start + ROWS] for name, column in columns.items()}
            file.writelines(_format_rows(rows, escape_formulas, formulas))
        if formulas and not escape_formulas:
            warnings.warn(
                f"{len(formulas):,} strings of issues may be executed by a spreadsheet, such as {formulas[0]!r}; "
                "escape_formulas=True writes an apostrophe before them",
                stacklevel=2,
            )


def read_columns(issues: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns as arrays of one length."""
    columns = {name: np.asarray(values) for name, values in issues.items()}
    if not columns:
        raise ValueError("issues must have at least one column, got none")
    first = next(iter(columns.values()))
    for name, column in columns.items():
        if column.ndim != 1 or len(column) != len(first):
            raise ValueError(
                "the columns of issues must be one-dimensional and of one length, got shape "
                f"{column.shape} for {name!r} and {first.shape} for the first"
            )
        if column.dtype.kind not in "biufOU" or (column.dtype.kind == "f" and column.dtype.itemsize > 8):
            raise TypeError(
                f"column {name!r} of issues must be booleans, integers, floating-point numbers or strings, "
                f"got {column.dtype}"
            )
    return columns


def _format_rows(rows: Mapping[str, npt.NDArray[Any]], escape_formulas: bool, formulas: list[str]) -> Iterator[bytes]:
    """Yield the lines of some rows; few at a time if they have very long strings.

    Strings that a spreadsheet may execute are appended to `formulas`.
    """
    columns: list[Cells | Texts] = []
    for name, column in rows.items():
        if column.dtype.kind in "OU":
            columns.append(format_texts(f"column {name!r} of issues", column.tolist(), escape_formulas, formulas))
        else:
            columns.append(format_numbers(column))
    n_rows = len(next(iter(rows.values())))
    width = sum(int(column.lengths.max()) for column in columns if isinstance(column, Texts))
    n_parts = min(1 + width * n_rows // MAX_BYTES, n_rows)
    for part in range(n_parts):
        start, end = part * n_rows // n_parts, (part + 1) * n_rows // n_parts
        yield _join([c.cells(start, end) if isinstance(c, Texts) else c[start:end] for c in columns])


def _join(columns: Sequence[Cells]) -> bytes:
    """Return the lines of a table, given its columns."""
    comma = np.full((len(columns[0]), 1), ord(","), np.uint8)
    parts = [part for column in columns for part in (column, comma)]
    parts[-1] = np.full_like(comma, ord("\n"))
    return np.concatenate(parts, axis=1).tobytes().translate(None, b"\0")
