"""Columns of files of comma-separated or tab-separated text."""

from __future__ import annotations

import csv
import lzma
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO


def read_columns(path: Path, names: Sequence[str], delimiter: str = ",") -> dict[str, list[str]]:
    """Return some columns of a file whose first line has their names.

    Parameters
    ----------
    path : Path
        Text in UTF-8; compressed by xz if the name ends with ``.xz``.
    names : sequence of str
    delimiter : str, default ","

    Returns
    -------
    dict of str to list of str
        The columns by name.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A column is missing, a row has another number of columns, or there is no row.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}; it must have the columns {', '.join(names)}")
    try:
        with _open(path) as file:
            rows = csv.reader(file, delimiter=delimiter)
            head = next(rows, [])
            missing = [name for name in names if name not in head]
            if missing:
                raise ValueError(
                    f"{path} must have the columns {', '.join(names)}, lacks {', '.join(missing)}; use the file as it "
                    "was published"
                )
            return _read_rows(path, rows, head, names)
    except (UnicodeDecodeError, csv.Error, lzma.LZMAError, EOFError) as error:
        raise ValueError(f"{path} can't be read: {error}; use the file as it was published") from error


def _open(path: Path) -> TextIO:
    if path.suffix == ".xz":
        return lzma.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _read_rows(
    path: Path, rows: Iterable[list[str]], head: Sequence[str], names: Sequence[str]
) -> dict[str, list[str]]:
    places = {name: head.index(name) for name in names}
    columns: dict[str, list[str]] = {name: [] for name in names}
    for number, row in enumerate(rows, start=1):
        if len(row) != len(head):
            raise ValueError(
                f"rows of {path} must have {len(head)} columns, got {len(row)} in row {number:,}; use the file as it "
                "was published"
            )
        for name, place in places.items():
            columns[name].append(row[place])
    if not columns[names[0]]:
        raise ValueError(f"{path} must have rows, got none; use the file as it was published")
    return columns
