"""Reading a table of label issues for an export: the columns that a format needs, and the samples of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..csv_file import read_columns
from ..issues import Column

REMEDIES = {
    "given_label": "pass labels= to rrm.issues() or make_issues()",
    "predicted_label": "pass predictions= to rrm.issues() or make_issues()",
}


def read_table(function: str, issues: Mapping[str, npt.ArrayLike], *needed: str) -> dict[str, Column]:
    """Return the columns of a table as arrays of one length.

    Parameters
    ----------
    function : str
        Who needs the columns, for messages.
    issues : mapping of str to array, shape (rows,)
    needed : str
        The columns that must be there beside ``index``.

    Raises
    ------
    TypeError
        A column holds other types than `rrm_review.to_csv` writes, or ``index`` holds no integers.
    ValueError
        A column is missing, the columns differ in length, or ``index`` names a sample twice or is negative.
    """
    for name in ("index", *needed):
        if name not in issues:
            remedy = REMEDIES.get(name, "pass a table of rrm.issues() or make_issues()")
            raise ValueError(f"{function} needs the column {name!r} of issues, got {', '.join(issues)}; {remedy}")
    table = read_columns(issues)
    index = table["index"]
    if index.dtype.kind not in "iu":
        raise TypeError(f"column 'index' of issues must be integers, the numbers of the samples, got {index.dtype}")
    if len(index) and (index.min() < 0 or len(np.unique(index)) < len(index)):
        raise ValueError("column 'index' of issues must name each sample once, from 0, got negative or equal numbers")
    return table


def select_samples(name: str, values: Any, index: Column) -> Column:
    """Return the items of the samples that the rows of a table stand for.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    values : array or sequence, shape (n,)
        One item for each sample.
    index : array of integers, shape (rows,)

    Raises
    ------
    ValueError
        `values` isn't one-dimensional, or lacks a sample of the table.
    """
    # Of a list, NumPy would turn numbers beside strings into strings.
    items = np.asarray(values, dtype=None if hasattr(values, "dtype") else object)
    if items.ndim != 1:
        raise ValueError(f"{name} must have shape (n,), one item for each sample, got {items.shape}")
    if len(index) and index.max() >= len(items):
        raise ValueError(
            f"{name} must have an item for each sample of issues, in the order of the samples, got {len(items):,}, and "
            f"issues has the index {index.max()}"
        )
    return items[index]


def is_text(column: Column) -> bool:
    """Whether a column of a table holds strings."""
    return column.dtype.kind in "OU"


def check_unicode(name: str, texts: list[Any]) -> list[str]:
    """Return strings that UTF-8 can represent.

    Raises
    ------
    TypeError
        There are other objects among them.
    ValueError
        A string holds a lone surrogate, by which Python stands for a byte of a file name that isn't UTF-8.
    """
    others = sorted({type(text).__name__ for text in texts if not isinstance(text, str)})
    if others:
        raise TypeError(f"{name} must be strings, got {', '.join(others)} among them")
    joined = "".join(texts)
    try:
        joined.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} must be strings that UTF-8 can represent, got one with {joined[error.start]!r}; replace such "
            "characters, text.encode('utf-8', 'replace').decode()"
        ) from None
    return texts


def json_values(name: str, column: Column) -> list[Any]:
    """Return a column as values that JSON can represent: NaN and infinities are None.

    float32 have the shortest digits that read back as the same float32.
    """
    if is_text(column):
        return check_unicode(name, column.tolist())
    if column.dtype.kind != "f":
        return list(column.tolist())
    shortest = column.astype(str).astype(np.float64)
    return [number if np.isfinite(number) else None for number in shortest.tolist()]


def label_texts(name: str, column: Column) -> list[str]:
    """Return labels as strings: the digits of integers."""
    return check_unicode(name, [str(label) for label in column.tolist()])


def class_names(columns: list[Column]) -> list[str]:
    """Return the distinct labels of columns as strings, in ascending order."""
    return [str(label) for label in sorted(set().union(*(column.tolist() for column in columns)))]
