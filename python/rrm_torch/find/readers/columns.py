"""Which column of a table is what: labels, identifiers, texts, images or features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .image_folder import SPLITS, is_image_name
from .labelled_data import join_names
from .number_columns import as_numbers
from .table import Table, is_missing

LABEL_NAMES = ("label", "labels", "class", "target", "y", "category")
TEXT_NAMES = ("text", "sentence", "question", "review", "content", "message", "comment", "title")
NUMBERING_NAMES = ("id", "idx", "index")
ID_NAMES = (*NUMBERING_NAMES, "file", "filename", "file_name", "path", "name")
IMAGE_NAMES = ("image", "images", "img", "image_path", "path", "file", "filename", "file_name")
SPLIT_NAME = "split"

MIN_NUMBERING = 20
"""Rows from which consecutive integers are no coincidence."""

_ENDS_WITH_ID = re.compile(r"(?:[a-z0-9]I[dD]|[_ .-](?:id|ID|Id))$")  # userId, user_id

MAX_CELLS = 1000
"""Cells by which a column is taken for one of texts."""

LONG_TEXT = 20
"""Mean number of characters from which strings are texts and not categories."""


def find_label_column(table: Table, label: str | None) -> str:
    """Return the name of the column of labels.

    Raises
    ------
    ValueError
        There is no such column, or several have usual names.
    """
    if label is not None:
        return check_column(table, label, "label")
    candidates = [name for name in table.columns if name.lower() in LABEL_NAMES]
    if len(candidates) == 1:
        return candidates[0]
    problem = "has no column called " + ", ".join(LABEL_NAMES)
    if candidates:
        problem = "has several columns that may be the labels"
    where = "" if table.is_typed else ", by its first line,"
    raise ValueError(
        f"{table.source} {problem}; pass the name of one, --label NAME. Its columns are{where} "
        f"{table.describe_columns()}"
    )


def check_column(table: Table, name: str, argument: str) -> str:
    """Return the name of a column that must exist."""
    if name not in table.columns:
        raise ValueError(
            f"{argument} must be a column of {table.source}, got {name!r}; its columns are {table.describe_columns()}"
        )
    return name


def match_columns(table: Table, patterns: Sequence[str], argument: str, excluded: Sequence[str] = ()) -> list[str]:
    """Return the columns that names or patterns select, in the order of the patterns, then of the table.

    Raises
    ------
    ValueError
        A pattern matches no column.
    """
    names: dict[str, None] = {}
    for pattern in patterns:
        if pattern in table.columns:
            names[pattern] = None
            continue
        matches = [name for name in table.columns if fnmatchcase(name, pattern) and name not in excluded]
        if not matches:
            raise ValueError(
                f"{argument} must be columns of {table.source}, got {pattern!r}, which matches none; its columns are "
                f"{table.describe_columns()}"
            )
        names.update(dict.fromkeys(matches))
    return list(names)


def find_id_column(table: Table, names: Sequence[str], notes: list[str]) -> str | None:
    """Return the column that identifies the samples, or None.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The columns that may be it.
    notes : list of str
        Receives a column that isn't used as its values are repeated.
    """
    candidates = [name for usual in NUMBERING_NAMES for name in names if name.lower() == usual]
    candidates += [name for name in names if _ENDS_WITH_ID.search(name)]
    candidates += [name for usual in ID_NAMES for name in names if name.lower() == usual and name not in candidates]
    repeated = []
    for name in candidates:
        if is_distinct(table.columns[name]):
            return name
        repeated.append(name)
    if repeated and repeated[0].lower() == "id":
        notes.append(f"The column {repeated[0]!r} has repeated or empty values: samples are identified by row number.")
    return None


def find_identifiers(table: Table, names: Sequence[str]) -> list[str]:
    """Return the columns that number or name the samples, and are no features."""
    return [
        name
        for name in names
        if name.lower() in NUMBERING_NAMES
        or is_numbering(table.columns[name])
        or ((name.lower() in ID_NAMES or _ENDS_WITH_ID.search(name)) and is_distinct(table.columns[name]))
    ]


def is_numbering(cells: Any) -> bool:
    """Return whether a column holds consecutive integers, such as row numbers."""
    if len(cells) < MIN_NUMBERING or not _counts(cells.iloc[:MIN_NUMBERING]):
        return False
    return _counts(cells)


def _counts(cells: Any) -> bool:
    numbers = as_numbers(cells)
    return numbers is not None and bool((numbers.diff()[1:] == 1).all())


def is_distinct(cells: Any) -> bool:
    """Return whether each cell of a column is another string or integer."""
    items = cells.tolist()
    return all(isinstance(item, (str, int)) and item != "" for item in items) and len(set(items)) == len(items)


def is_split_column(table: Table, name: str) -> bool:
    """Return whether a column tells to which split a sample belongs."""
    if name.lower() != SPLIT_NAME:
        return False
    cells = table.columns[name].tolist()
    return all(isinstance(cell, str) and cell.strip().lower() in {"", *SPLITS} for cell in cells)


def find_text_column(table: Table, names: Sequence[str]) -> str | None:
    """Return the column of texts: by its name, or the only one of long strings that mostly differ.

    Raises
    ------
    ValueError
        Several columns may be it.
    """
    for usual in TEXT_NAMES:
        for name in names:
            if name.lower() == usual and (_is_long(table, name) or _is_varied(table, name)):
                return name
    candidates = [name for name in names if _is_long(table, name) and _is_varied(table, name)]
    if len(candidates) > 1:
        raise ValueError(
            f"{table.source} has several columns of texts: {join_names(candidates)}; pass the name of one, --text "
            "NAME, or --kind table"
        )
    return candidates[0] if candidates else None


def _is_long(table: Table, name: str) -> bool:
    """Return whether a column consists of long strings."""
    strings = _find_strings(table, name)
    return bool(strings) and sum(map(len, strings)) >= LONG_TEXT * len(strings)


def _is_varied(table: Table, name: str) -> bool:
    """Return whether a column consists of strings that mostly differ and aren't numbers."""
    strings = _find_strings(table, name)
    return len(set(strings)) > len(strings) / 2 and as_numbers(table.columns[name].iloc[:MAX_CELLS]) is None


def _find_strings(table: Table, name: str) -> list[str]:
    """Return the first strings of a column, or none if it holds something else."""
    items = table.columns[name].iloc[:MAX_CELLS].tolist()
    strings = [item for item in items if isinstance(item, str)]
    if any(not isinstance(item, str) and not is_missing(item) for item in items):
        return []
    return [string for string in strings if string.strip()]


def find_image_column(table: Table, names: Sequence[str]) -> str | None:
    """Return the column of images: of encoded images, or of names of image files of which one exists."""
    for name in table.columns:
        if name in names and is_encoded(table.columns[name]):
            return name
    for usual in IMAGE_NAMES:
        for name in names:
            if name.lower() == usual and _names_images(table, name):
                return name
    return None


def is_encoded(cells: Any) -> bool:
    """Return whether a column holds encoded images: objects with ``bytes``, as Hugging Face's datasets writes them."""
    if cells.dtype != object:
        return False
    items = (cell for cell in cells.tolist() if cell is not None)
    first = next(items, None)
    return _is_image(first) and all(map(_is_image, items))


def _is_image(cell: Any) -> bool:
    return isinstance(cell, dict) and "bytes" in cell


def _names_images(table: Table, name: str) -> bool:
    items = [cell for cell in table.columns[name].tolist() if isinstance(cell, str) and cell.strip()]
    if not items or not all(is_image_name(item.strip()) for item in items):
        return False
    return any(locate(table.source, item).is_file() for item in items)


def locate(source: Path, name: str) -> Path:
    """Return the path of a file that a table names relative to its own folder."""
    return source.parent / name.strip()
