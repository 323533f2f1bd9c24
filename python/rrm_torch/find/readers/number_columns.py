"""Cells as numbers: feature columns of a table, and matrices of columns or of a .npy file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_core._npy_header import read_npy_header

from ...data.memory_limit import check_max_bytes, refuse_too_large
from ...data.npz import read_into
from .label_notes import MISSING_TOKENS
from .labelled_data import join_names
from .optional_packages import import_optional
from .table import Table

MAX_CATEGORIES = 20
"""Categories that a column may have even if they are more than half as many as its cells."""

_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+(,[0-9]+)?")


def as_numbers(cells: Any, decimal_comma: bool = False) -> Any:
    """Return a column as numbers, or None if it isn't one of numbers.

    Parameters
    ----------
    cells : pandas.Series
        Strings, numbers, bools, or None. Empty cells, and strings such as NA and ?, are missing.
    decimal_comma : bool
        A comma may be the decimal separator.

    Returns
    -------
    pandas.Series of float64, or None
        NaN where the cell is missing.
    """
    pandas = import_optional("pandas", "tables")
    if pandas.api.types.is_bool_dtype(cells.dtype) or pandas.api.types.is_numeric_dtype(cells.dtype):
        return cells.astype("Float64").astype("float64")
    if not _holds_scalars(cells):
        return None
    numbers = pandas.to_numeric(cells, errors="coerce").astype("float64")
    others = _find_others(cells, numbers)
    if others and decimal_comma and all(_DECIMAL_COMMA.fullmatch(other) for other in others):
        numbers = numbers.fillna(pandas.to_numeric(cells.str.replace(",", ".", regex=False), errors="coerce"))
        others = _find_others(cells, numbers)
    if others or not numbers.notna().any():
        return None
    return numbers


def _find_others(cells: Any, numbers: Any) -> set[str]:
    """Return the cells that are neither numbers nor missing."""
    others = {str(cell).strip() for cell in cells[numbers.isna()].dropna().unique().tolist()}
    return {other for other in others if other and other.lower() not in MISSING_TOKENS}


def _holds_scalars(cells: Any) -> bool:
    """Return whether a column holds no lists or objects, and no dates."""
    pandas = import_optional("pandas", "tables")
    if isinstance(cells.dtype, pandas.StringDtype):
        return True
    if pandas.api.types.is_datetime64_any_dtype(cells.dtype) or pandas.api.types.is_timedelta64_dtype(cells.dtype):
        return False
    return all(pandas.api.types.is_scalar(cell) for cell in cells.tolist())


def make_feature_table(table: Table, names: Sequence[str], notes: list[str]) -> Any:
    """Return the feature columns of a table.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The columns that may be features.
    notes : list of str
        Receives which columns aren't used, and why.

    Returns
    -------
    pandas.DataFrame
        Each column is float64, if all cells that aren't missing are numbers, or a category. Columns without cells,
        of lists, of dates, and of strings that nearly all differ are left out.

    Raises
    ------
    ValueError
        There is no column left.
    """
    pandas = import_optional("pandas", "tables")
    features = {}
    unused = []
    infinite = []
    for name in names:
        cells = table.columns[name]
        numbers = as_numbers(cells, table.decimal_comma)
        if numbers is not None:
            is_infinite = np.isinf(numbers.to_numpy())
            if is_infinite.any():
                infinite.append(repr(name))
                numbers = numbers.mask(is_infinite)
            features[name] = numbers
        elif (categories := _as_categories(cells)) is not None:
            features[name] = categories
        else:
            unused.append(repr(name))
    if unused:
        notes.append(
            f"Columns that are no features, as they are empty, or hold dates, lists or a different text in each row: "
            f"{join_names(unused)}."
        )
    if infinite:
        notes.append(f"Infinite numbers are read as missing in the columns {join_names(infinite)}.")
    if not features:
        raise ValueError(f"{table.source} has no feature columns; its columns are {table.describe_columns()}")
    return pandas.DataFrame(features)


def _as_categories(cells: Any) -> Any:
    """Return a column of strings as categories, or None if it isn't one."""
    if not _holds_scalars(cells):
        return None
    cells = cells.astype(object)
    strings = cells.where(cells.notna(), "").map(str).str.strip()
    strings = strings.astype(object).where(strings != "", None)
    n_distinct = strings.nunique()
    if not n_distinct or (n_distinct > MAX_CATEGORIES and n_distinct > strings.notna().sum() / 2):
        return None
    return strings.astype("category")


def read_matrix(table: Table, names: Sequence[str], argument: str) -> npt.NDArray[np.float64]:
    """Return columns of numbers as a matrix.

    Parameters
    ----------
    table : Table
    names : sequence of str
        Columns of numbers, or one column of lists of numbers.
    argument : str
        What names them, for messages.

    Returns
    -------
    np.ndarray of float64, shape (n_rows, n_columns)
        NaN where a cell is missing.

    Raises
    ------
    ValueError
        A column isn't one of numbers, or its lists differ in length.
    """
    if len(names) == 1 and (matrix := as_vectors(table, names[0])) is not None:
        return matrix
    columns = []
    for name in names:
        numbers = as_numbers(table.columns[name], table.decimal_comma)
        if numbers is None:
            raise ValueError(
                f"{argument} must be columns of numbers, and {name!r} of {table.source} isn't one; --kind table uses "
                "columns of any kind"
            )
        columns.append(numbers.to_numpy())
    return np.column_stack(columns)


def as_vectors(table: Table, name: str) -> npt.NDArray[np.float64] | None:
    """Return a column of lists of numbers as a matrix, or None if it isn't one.

    Raises
    ------
    ValueError
        The lists differ in length.
    """
    cells = table.columns[name].tolist()
    vectors = [cell for cell in cells if isinstance(cell, (list, np.ndarray))]
    if not vectors or any(cell is not None for cell in cells if not isinstance(cell, (list, np.ndarray))):
        return None
    lengths = sorted(set(map(len, vectors)))
    try:
        arrays = [np.asarray(vector, np.float64) for vector in vectors]
    except (TypeError, ValueError):
        return None
    if len(lengths) > 1:
        raise ValueError(
            f"{table.source}: the lists of column {name!r} must have one length, got {lengths[0]} and {lengths[-1]}"
        )
    if any(array.ndim != 1 for array in arrays):
        return None
    missing = np.full(lengths[0], np.nan)
    rest = iter(arrays)
    return np.stack([missing if cell is None else next(rest) for cell in cells])


def read_npy(path: Path, argument: str, n_rows: int, max_bytes: int | None = None) -> npt.NDArray[Any]:
    """Read a matrix of numbers from a .npy file. Pickled objects are never loaded.

    Parameters
    ----------
    path : Path
    argument : str
        What names the file, for messages.
    n_rows : int
        Expected number of rows.
    max_bytes : int, optional
        Bytes that the array may take; by default a quarter of this machine's memory.

    Returns
    -------
    np.ndarray of integers or floats, shape (n_rows, d)
        Each row flattened.

    Raises
    ------
    FileNotFoundError
        The file doesn't exist.
    ValueError
        The file isn't a valid .npy file, or its array is too large or has another number of rows.
    TypeError
        The array isn't one of numbers.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{argument} {str(path)!r} isn't an existing file")
    with path.open("rb") as file:
        try:
            header = read_npy_header(file)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} isn't a .npy file, such as numpy.save writes: {error}") from error
        if header.dtype.kind not in "iufb":
            kind = "pickled objects, which are never loaded" if header.dtype.hasobject else str(header.dtype)
            raise TypeError(f"{argument} {path} must be an array of numbers, got {kind}")
        n_bytes = header.n_bytes
        refuse_too_large(str(path), n_bytes, check_max_bytes(max_bytes))
        memory = np.empty(n_bytes, np.uint8)
        if read_into(file, memory) < n_bytes:
            raise ValueError(f"{path} ends before the {n_bytes:,} bytes of its shape {header.shape}")
    shape = header.shape
    if not shape or shape[0] != n_rows:
        raise ValueError(f"{argument} {path} must have one row per label, {n_rows:,}, got shape {shape}")
    order = shape[::-1] if header.fortran_order else shape
    array = memory.view(header.dtype).reshape(order)
    if header.fortran_order:
        array = array.T
    return array.reshape(n_rows, -1)
