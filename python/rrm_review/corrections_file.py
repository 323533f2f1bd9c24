"""Reading the decisions of a person: the files ``corrections.csv`` and ``corrections.json`` of the review page."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .csv_texts import FORMULA_STARTS, is_number
from .spreadsheet_csv import read_rows

COLUMNS = ("id", "given_label", "decision", "label")
DECISIONS = ("keep", "relabel", "drop", "unsure")

FORMULA = re.compile(f"'*[{re.escape(''.join(FORMULA_STARTS))}]")


class Correction(NamedTuple):
    """A decision on one sample.

    Attributes
    ----------
    place : str
        Where it was read, for messages.
    id, given_label : str
        Labels and identifiers that are integers are decimal numbers here. `given_label` may be empty: unknown.
    decision : str
        One of `DECISIONS`.
    label : str
        The label decided on; empty for other decisions than keep and relabel.
    """

    place: str
    id: str
    given_label: str
    decision: str
    label: str


def read_corrections(source: str | os.PathLike[str] | Mapping[str, npt.ArrayLike]) -> list[Correction]:
    """Return the decisions in a file or a table.

    Parameters
    ----------
    source : str, path or mapping of str to array
        A file that ends with ``.json``, or a CSV file; or a table with the columns of one.

    Raises
    ------
    ValueError
        The file or table lacks a column, or a decision is unknown or contradicts its label.
    OSError
        The file can't be read.
    """
    if not isinstance(source, (str, os.PathLike)):
        corrections = _read_table(source)
    elif Path(source).suffix.lower() == ".json":
        corrections = _read_json(source)
    else:
        corrections = _read_csv(source)
    return [_check(correction) for correction in corrections]


def _read_csv(path: str | os.PathLike[str]) -> list[Correction]:
    _, rows = read_rows(path, ("id", "decision", "label"), "the review page")
    return [
        Correction(f"{path}, row {row.number}", *(_unescape(row.cells.get(name, "")) for name in COLUMNS))
        for row in rows
    ]


def _unescape(cell: str) -> str:
    """Return the text of a cell: the page writes an apostrophe before what a spreadsheet may execute."""
    text = cell[1:]
    if cell.startswith("'") and FORMULA.match(text) and not is_number(text):
        return text
    return cell


def _read_json(path: str | os.PathLike[str]) -> list[Correction]:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} isn't JSON in UTF-8: {error}; export it from the review page again") from None
    items = content.get("decisions") if isinstance(content, dict) else content
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{path} must hold a list of decisions, as the review page exports them")
    corrections = []
    for number, item in enumerate(items, 1):
        place = f"{path}, decision {number}"
        missing = [name for name in ("id", "decision", "label") if name not in item]
        if missing:
            raise ValueError(f"{place} has no {missing[0]!r}; export it from the review page again")
        corrections.append(Correction(place, *(_as_text(item.get(name)) for name in COLUMNS)))
    return corrections


def _read_table(table: Mapping[str, Any]) -> list[Correction]:
    missing = [name for name in ("id", "decision", "label") if name not in table]
    if missing:
        raise ValueError(f"corrections must have the columns {', '.join(COLUMNS)}, got none called {missing[0]!r}")
    names = [name for name in COLUMNS if name in table]
    columns = {name: np.asarray(table[name], dtype=object).tolist() for name in names}
    n = len(columns["id"])
    if any(len(column) != n for column in columns.values()):
        raise ValueError("the columns of corrections must have one length")
    return [
        Correction(
            f"corrections, row {row}", *(_as_text(columns[name][row]) if name in columns else "" for name in COLUMNS)
        )
        for row in range(n)
    ]


def _as_text(value: Any) -> str:
    is_missing = value is None or (isinstance(value, float) and value != value)
    return "" if is_missing else str(value)


def _check(correction: Correction) -> Correction:
    """Return a correction with its decision in lower case; a ValueError if it contradicts itself."""
    decision = correction.decision.strip().lower()
    if decision not in DECISIONS:
        raise ValueError(
            f"{correction.place}: decision must be keep, relabel, drop or unsure, got {correction.decision!r}"
        )
    if decision == "relabel" and not correction.label:
        raise ValueError(f"{correction.place}: relabel needs a label, got none for {correction.id!r}")
    if decision == "keep" and correction.given_label and correction.label not in ("", correction.given_label):
        raise ValueError(
            f"{correction.place}: keep must have the given label {correction.given_label!r}, got "
            f"{correction.label!r}; write relabel to change it"
        )
    return correction._replace(decision=decision)
