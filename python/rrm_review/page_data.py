"""The data of a page as JSON types: one list per column, labels as positions among the classes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .corrections import find_problem
from .corrections_file import COLUMNS as CORRECTION_COLUMNS
from .corrections_file import Correction
from .issues import Column, read_items

LABELS = ("given_label", "predicted_label")
OWN_COLUMNS = frozenset({"index", "id", *LABELS})  # the others are among the details
MAX_NAMED = 5  # labels in a message


@dataclass(frozen=True)
class PageTable:
    """The table of label issues, checked.

    Attributes
    ----------
    index : array of int64, shape (n_rows,)
    ids : array of integers or strings, shape (n_rows,)
    has_ids : bool
        Whether the table had identifiers; otherwise `ids` is `index`.
    values : list
        The labels of the classes, as they are exported.
    names : list of str
        Their names on the page.
    given_label, predicted_label : array of int64, shape (n_rows,)
        Positions in `values`.
    columns : dict of str to array
        All other columns.
    """

    index: npt.NDArray[np.int64]
    ids: Column
    has_ids: bool
    values: list[Any]
    names: list[str]
    given_label: npt.NDArray[np.int64]
    predicted_label: npt.NDArray[np.int64]
    columns: dict[str, Column]


def read_table(issues: Mapping[str, npt.ArrayLike], classes: Sequence[str] | None) -> PageTable:
    """Check a table of label issues and number its labels."""
    for name in ("index", *LABELS):
        if name not in issues:
            raise ValueError(f"issues must have a column {name!r}, got {', '.join(map(str, issues)) or 'none'}")
    index = _read_index(issues["index"])
    n = len(index)
    ids = read_items("id of issues", issues["id"], n) if "id" in issues else index
    _check_distinct("id", ids)
    labels = {name: read_items(f"{name} of issues", issues[name], n) for name in LABELS}
    if len({column.dtype.kind in "iu" for column in labels.values()}) > 1:
        raise TypeError("given_label and predicted_label of issues must both be integers or both be strings")
    values, names = _read_classes(labels, classes)
    positions = {value: position for position, value in enumerate(values)}
    numbers = {name: _number_labels(column, positions) for name, column in labels.items()}
    columns = {name: _read_column(name, issues[name], n) for name in issues if name not in OWN_COLUMNS}
    _check_range("confidence", columns)
    _check_strings("duplicates", columns)
    return PageTable(
        index=index,
        ids=ids,
        has_ids="id" in issues,
        values=values,
        names=names,
        given_label=numbers["given_label"],
        predicted_label=numbers["predicted_label"],
        columns=columns,
    )


def as_page_data(
    table: PageTable,
    rows: npt.NDArray[np.int64],
    kind: str,
    content: Mapping[str, Any],
    history: npt.NDArray[np.bool_] | None,
    corrections: Sequence[Correction],
) -> dict[str, Any]:
    """Return the data of a page.

    Identifiers and labels are strings, as JavaScript has no 64-bit integers; "integers" says which ones were numbers.
    """
    has_integer_labels = bool(table.values) and not isinstance(table.values[0], str)
    integers = {"id": table.ids.dtype.kind in "iu", "label": has_integer_labels}
    columns = {name: as_json_values(column[rows]) for name, column in table.columns.items()}
    data = {
        "format": "rrm page",
        "version": 1,
        "kind": kind,
        "key": compute_key(table, kind),
        "total": len(table.index),
        "has_ids": table.has_ids,
        "integers": integers,
        "values": [str(value) for value in table.values],
        "names": table.names,
        "index": table.index[rows].tolist(),
        "ids": [str(item) for item in table.ids[rows].tolist()],
        "given": table.given_label[rows].tolist(),
        "predicted": table.predicted_label[rows].tolist(),
        **_split_corrections(table, rows, corrections),
        "columns": columns,
        "content": content,
    }
    if history is not None:
        packed = np.packbits(history[:, rows], axis=0).T
        data["pruned"] = {"n": len(history), "bits": [bits.tobytes().hex() for bits in packed]}
    return data


def compute_key(table: PageTable, kind: str) -> str:
    """Return the SHA-256 digest of the samples and their given labels, whatever the order of the rows.

    Predictions don't count: decisions that a browser has stored hold for a later search of the same data, too.
    """
    order = np.argsort(table.index, kind="stable")
    labels = [table.values[label] for label in table.given_label[order]]
    content = json.dumps([kind, table.ids[order].tolist(), labels])
    return hashlib.sha256(content.encode()).hexdigest()


def as_json_values(column: Column) -> list[Any]:
    """Return numbers and strings as JSON has them: NaN as None, infinity and large integers as strings."""
    if column.dtype.kind != "f":
        large = column.dtype.kind in "iu" and bool(((column > 2**53) | (column < -(2**53))).any())
        return [str(value) for value in column.tolist()] if large else column.tolist()
    # float32 0.1 is 0.1 in its own type, and 0.10000000149011612 as a double.
    values = [float(text) for text in column.astype(str).tolist()]
    if np.isfinite(column).all():
        return values
    finite = np.isfinite(column).tolist()
    return [value if is_finite else _name_non_finite(value) for value, is_finite in zip(values, finite, strict=True)]


def _name_non_finite(value: float) -> str | None:
    if value != value:
        return None
    return "∞" if value > 0 else "-∞"


def _read_index(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    index = np.asarray(values)
    if index.ndim != 1 or (len(index) > 0 and index.dtype.kind not in "iu"):
        raise ValueError(f"index of issues must be integers of shape (n,), got {index.dtype} of shape {index.shape}")
    if len(index) > 0 and index.min() < 0:
        raise ValueError(f"index of issues must be at least 0, got {index.min()}")
    _check_distinct("index", index)
    return index.astype(np.int64)


def _check_distinct(name: str, column: Column) -> None:
    items = column.tolist()
    if len(set(items)) == len(items):
        return
    item, count = Counter(items).most_common(1)[0]
    remedy = "make them distinct, or leave the column out" if name == "id" else "leave out the other rows"
    raise ValueError(f"{name} of issues must be distinct, got {item!r} {count} times; {remedy}")


def _read_classes(labels: Mapping[str, Column], classes: Sequence[str] | None) -> tuple[list[Any], list[str]]:
    """Return the labels of all classes and their names."""
    distinct = sorted({label for column in labels.values() for label in column.tolist()})
    if classes is None:
        return distinct, [str(label) for label in distinct]
    names = list(classes)
    if isinstance(classes, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"classes must be a sequence of strings, got {classes!r}")
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise ValueError(f"classes must be distinct, got {name!r} {count} times")
    values: list[Any] = names
    extent = "be among classes"
    if distinct and not isinstance(distinct[0], str):
        values = list(range(len(names)))
        extent = f"lie in [0, {len(names)}), as there are {len(names)} classes"
    known = set(values)
    others = [repr(label) for label in distinct if label not in known]
    if others:
        listing = ", ".join(others[:MAX_NAMED]) + (", ..." if len(others) > MAX_NAMED else "")
        raise ValueError(f"labels of issues must {extent}, got {listing}; name all classes, or leave out these rows")
    return values, names


def _number_labels(column: Column, positions: Mapping[Any, int]) -> npt.NDArray[np.int64]:
    return np.array([positions[label] for label in column.tolist()], np.int64)


def _split_corrections(
    table: PageTable, rows: npt.NDArray[np.int64], corrections: Sequence[Correction]
) -> dict[str, Any]:
    """Return the decisions on the samples of the page, and those on other samples, which its exports repeat."""
    positions = {str(item): position for position, item in enumerate(table.ids[rows].tolist())}
    classes = {str(value): number for number, value in enumerate(table.values)}
    given = np.array([str(value) for value in table.values], dtype=object)[table.given_label[rows]]
    decisions = [""] * len(rows)
    labels: list[int | None] = [None] * len(rows)
    earlier: dict[int, Correction] = {}
    others = {}
    for correction in corrections:
        position = positions.get(correction.id)
        if position is None:
            others[correction.id] = {name: getattr(correction, name) or None for name in CORRECTION_COLUMNS}
            continue
        if correction.decision == "relabel" and correction.label not in classes:
            raise ValueError(
                f"{correction.place}: the label of {correction.id!r} must be a class, got {correction.label!r}; "
                "name it in classes"
            )
        problem = find_problem(correction, positions, earlier, given, classes)
        if problem:
            raise ValueError(f"corrections don't fit the issues: {correction.place}: {problem}")
        earlier[position] = correction
        decisions[position] = correction.decision
        if correction.decision == "relabel":
            labels[position] = classes[correction.label]
    return {"decisions": decisions, "labels": labels, "others": list(others.values())}


def _read_column(name: str, values: npt.ArrayLike, n: int) -> Column:
    array = np.asarray(values)
    if array.shape != (n,):
        raise ValueError(f"columns of issues must have shape ({n},), as index has, got {array.shape} for {name!r}")
    if array.dtype.kind in "biuf":
        return array
    return read_items(f"{name} of issues", values, n)


def _check_range(name: str, columns: Mapping[str, Column]) -> None:
    if name not in columns:
        return
    column = columns[name]
    if column.dtype.kind not in "iuf" or bool(((column < 0) | (column > 1)).any()):
        raise ValueError(f"{name} of issues must be numbers in [0, 1], or NaN")


def _check_strings(name: str, columns: Mapping[str, Column]) -> None:
    if name in columns and columns[name].dtype.kind not in "OU":
        raise TypeError(f"{name} of issues must be strings, got {columns[name].dtype}")
