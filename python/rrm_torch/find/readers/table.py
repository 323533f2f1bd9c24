"""A table as a file has it, before it is known which column is what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .labelled_data import shorten


@dataclass(eq=False)
class Table:
    """Named columns, one row per sample.

    Attributes
    ----------
    source : Path
        The file or folder.
    columns : dict of str to pandas.Series
        Cells of a CSV file are str, empty where there is nothing; those of other files are typed, and None where there
        is nothing.
    n_rows : int
    is_typed : bool
        False if all cells are str, and numbers have to be recognised.
    notes : list of str
    class_names : mapping of str to list of str
        The names of the classes by column, where the file has them.
    decimal_comma : bool
        A comma in a number may be the decimal separator.
    """

    source: Path
    columns: dict[str, Any]
    n_rows: int
    is_typed: bool
    notes: list[str] = field(default_factory=list)
    class_names: Mapping[str, list[str]] = field(default_factory=dict)
    decimal_comma: bool = False

    def describe_columns(self, limit: int = 20) -> str:
        """Return the names of the columns, for a message."""
        names = [repr(name) for name in self.columns]
        text = ", ".join(shorten(name) for name in names[:limit])
        if len(names) > limit:
            text += f" and {len(names) - limit:,} more"
        return text or "none"


def is_missing(cell: Any) -> bool:
    """Return whether a typed cell holds nothing: None or NaN."""
    return cell is None or (isinstance(cell, float) and cell != cell)
