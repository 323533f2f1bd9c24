"""Parquet files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy.typing as npt

from rrm_core._atomic_write import atomic_write

from ..csv_file import read_columns
from ..issues import Column
from .columns import check_unicode, is_text

if TYPE_CHECKING:
    import pyarrow as pa


def to_parquet(issues: Mapping[str, npt.ArrayLike], path: str | os.PathLike[str]) -> None:
    """Write a table to a Parquet file, whole or not at all.

    Parameters
    ----------
    issues : mapping of str to array, shape (rows,)
        A table from `make_issues`. The columns keep their types and their order.
    path : str or path
        The file; an existing one is replaced.

    Raises
    ------
    TypeError
        A column holds other types than `to_csv` writes.
    ValueError
        The columns differ in length, or a string holds a lone surrogate, which Parquet can't represent. The file is as
        before the call.
    OSError
        The file can't be written. It is as before the call.
    ModuleNotFoundError
        pyarrow isn't installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("to_parquet needs pyarrow, which is not installed: pip install pyarrow") from error
    columns = {name: _to_arrow(f"column {name!r} of issues", column) for name, column in read_columns(issues).items()}
    table = pa.table(columns)
    with atomic_write(path) as file:
        pq.write_table(table, file)


def _to_arrow(name: str, column: Column) -> pa.Array:
    import pyarrow as pa

    if is_text(column):
        return pa.array(check_unicode(name, column.tolist()), pa.string())
    return pa.array(column)
