"""The folder that a search writes: the page, the table, the summary, and lists of duplicates and samples left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_core._atomic_write import atomic_write
from rrm_review import to_csv, write_page

from .duplicates import Duplicates
from .readers.image_pixels import Pictures
from .readers.labelled_data import LabelledData
from .result import Result

PAGE = "review.html"
TABLE = "issues.csv"
SUMMARY = "summary.txt"
NUMBERS = "results.json"
DUPLICATES = "duplicates.csv"
LEFT_OUT = "left_out.csv"
FILES = (PAGE, TABLE, SUMMARY, NUMBERS, DUPLICATES, LEFT_OUT)


def write_folder(
    folder: Path,
    data: LabelledData,
    result: Result,
    duplicates: Sequence[Duplicates],
    summary: Sequence[str],
    *,
    corrections: Sequence[Path] = (),
    limit: int | None = None,
) -> list[str]:
    """Write the files of a search, each whole or not at all.

    Parameters
    ----------
    folder : Path
        An existing folder. Files of an earlier search are replaced; duplicates.csv and left_out.csv of an earlier
        search are removed if there is nothing to list.
    data : LabelledData
        All samples, before corrections.
    result : Result
    duplicates : sequence of Duplicates
        Of `data`, by their corrected labels.
    summary : sequence of str
    corrections : sequence of Path
        Decisions of earlier rounds, with which the page starts.
    limit : int, optional
        Largest number of samples on the page.

    Returns
    -------
    list of str
        The names of the files, the page first.

    Raises
    ------
    OSError
        A file can't be written.
    """
    issues = _with_duplicates(result.issues, data, duplicates)
    # The table first: it holds what the search found, whatever becomes of the page.
    to_csv(issues, folder / TABLE, escape_formulas=True)
    with atomic_write(folder / SUMMARY) as file:
        file.write(("\n".join(summary) + "\n").encode("utf-8", "surrogateescape"))
    with atomic_write(folder / NUMBERS) as file:
        file.write((json.dumps(_numbers(data, result, duplicates), indent=1, allow_nan=False) + "\n").encode())
    optional = {DUPLICATES: _list_duplicates(data, duplicates), LEFT_OUT: _list_left_out(data)}
    written = [TABLE, SUMMARY, NUMBERS]
    for name, table in optional.items():
        if table is None:
            (folder / name).unlink(missing_ok=True)
            continue
        to_csv(table, folder / name, escape_formulas=True)
        written.append(name)
    kind, samples = data.shown()
    if kind == "images" and isinstance(samples, np.ndarray):
        samples = Pictures(samples)
    write_page(
        issues,
        samples,
        folder / PAGE,
        kind=kind,
        classes=data.classes,
        title=f"Label issues of {data.name}",
        notes=summary,
        pruned=result.pruned,
        corrections=list(corrections),
        limit=limit,
    )
    return [PAGE, *written]


def _with_duplicates(
    issues: Mapping[str, npt.NDArray[Any]], data: LabelledData, duplicates: Sequence[Duplicates]
) -> dict[str, npt.NDArray[Any]]:
    """Return the table with a remark on samples of the same content and another label, if there are any."""
    remarks = np.full(len(data.labels), "", dtype=object)
    for group in duplicates:
        if not group.labels_differ:
            continue
        position = int(np.argmax(group.labels != group.labels[0]))
        for member, label in zip(group.members.tolist(), group.labels.tolist(), strict=True):
            other = position if label == group.labels[0] else 0
            name = data.classes[group.labels[other]]
            remarks[member] = f"same content as {data.ids[group.members[other]]}, which is {name}"
    table = dict(issues)
    if remarks.any():
        table["duplicates"] = remarks[issues["index"]]
    return table


def _list_duplicates(data: LabelledData, duplicates: Sequence[Duplicates]) -> dict[str, npt.NDArray[Any]] | None:
    """Return a row per duplicate, the groups with different labels first; None if there is none."""
    if not duplicates:
        return None
    groups = sorted(duplicates, key=lambda group: not group.labels_differ)
    members = np.concatenate([group.members for group in groups])
    sizes = [len(group.members) for group in groups]
    return {
        "group": np.repeat(np.arange(len(groups)), sizes),
        "labels_differ": np.repeat([group.labels_differ for group in groups], sizes),
        "index": members,
        "id": data.ids[members],
        "label": np.array(data.classes, dtype=object)[np.concatenate([group.labels for group in groups])],
    }


def _list_left_out(data: LabelledData) -> dict[str, npt.NDArray[Any]] | None:
    if not data.left_out:
        return None
    return {
        "id": np.array([str(item.id) for item in data.left_out], dtype=object),
        "reason": np.array([item.reason for item in data.left_out], dtype=object),
    }


def _numbers(data: LabelledData, result: Result, duplicates: Sequence[Duplicates]) -> dict[str, Any]:
    estimate = None
    if result.estimate is not None:
        names = ("contamination", "interval", "n", "n_held_out", "basis")
        estimate = {name: getattr(result.estimate, name) for name in names}
    return {
        "data": data.name,
        "kind": data.kind,
        "samples": result.n,
        "classes": len(data.classes),
        "model": result.model,
        "estimate": estimate,
        "flagged": result.n_flagged,
        "duplicates": sum(len(group.members) for group in duplicates),
        "duplicates_with_different_labels": sum(len(group.members) for group in duplicates if group.labels_differ),
        "left_out": len(data.left_out),
        "labels_sha256": data.fingerprint(),
        "is_complete": result.is_complete,
        "rrm_core": rrm_core.__version__,
    }
