"""Reading CSV files that a spreadsheet or an editor may have saved: other separators, encodings and empty rows."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

DELIMITERS = ",;\t"
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
ZIP_MARK = b"PK\x03\x04"  # of .xlsx and .ods


class Row(NamedTuple):
    """A row of a file.

    Attributes
    ----------
    number : int
        As a spreadsheet counts: the header is row 1.
    cells : dict of str to str
        By the name of the column, in the text that was read. Cells that are missing at the end of a row are left out.
    """

    number: int
    cells: dict[str, str]


def read_rows(path: str | os.PathLike[str], columns: Sequence[str], writer: str) -> tuple[list[str], list[Row]]:
    """Return the names of the columns and the rows of a CSV file, without empty rows.

    Parameters
    ----------
    path : str or path
    columns : sequence of str
        Columns that the file must have.
    writer : str
        What wrote the file, for messages.

    Raises
    ------
    ValueError
        It isn't a CSV file with these columns, or a row has more cells than the header.
    OSError
        The file can't be read.
    """
    text = _read_text(path)
    for delimiter in DELIMITERS:
        reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter)
        try:
            header = [cell.strip() for cell in next(reader, [])]
            if set(columns) <= set(header):
                return header, list(_read_cells(path, header, reader))
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.line_num}: {error}; check that each quotation mark has a partner"
            ) from None
    raise ValueError(
        f"{path} has no columns {', '.join(columns[:-1])} and {columns[-1]}, its first line is "
        f"{text.partition(chr(10))[0][:80]!r}; save the file that {writer} wrote as CSV, with the header"
    )


def _read_cells(path: str | os.PathLike[str], header: list[str], reader: Iterable[list[str]]) -> Iterable[Row]:
    for number, cells in enumerate(reader, 2):
        if any(cell.strip() for cell in cells[len(header) :]):
            raise ValueError(
                f"{path}, row {number} has {len(cells)} cells, the header {len(header)}; quote cells that contain "
                "the separator"
            )
        # Spreadsheets append empty rows, and some editors cut off empty cells at the end.
        if any(cell.strip() for cell in cells):
            yield Row(number, dict(zip(header, cells, strict=False)))


def _read_text(path: str | os.PathLike[str]) -> str:
    content = Path(path).read_bytes()
    if content.startswith(ZIP_MARK):
        raise ValueError(f"{path} is not a CSV file but a workbook or an archive; save it as CSV")
    if content.startswith(UTF_16_MARKS):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "surrogateescape")
