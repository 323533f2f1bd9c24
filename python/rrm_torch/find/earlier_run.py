"""What changed since an earlier run in the same folder."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from .result import Result


@dataclass(frozen=True)
class Changes:
    """Numbers of flagged labels, in an earlier run and now.

    Attributes
    ----------
    n_before : int
        Flagged in the earlier run.
    n_still, n_settled : int
        Of these, still flagged, and no longer.
    n_new : int
        Flagged now only.
    """

    n_before: int
    n_still: int
    n_settled: int
    n_new: int


def read_flagged(path: Path) -> frozenset[str] | None:
    """Return the ids of the flagged samples in an issues.csv of an earlier run; None if there is none.

    A file of something else is no earlier run. The ids lack an apostrophe at their start.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            if not {"id", "is_label_issue"} <= set(rows.fieldnames or ()):
                return None
            return frozenset(_key(row["id"] or "") for row in rows if row["is_label_issue"] == "True")
    except (OSError, csv.Error):
        return None


def compare(before: frozenset[str], result: Result) -> Changes:
    """Return how the flagged samples of a result differ from those of an earlier run, by their ids."""
    now = {_key(str(item)) for item in result.issues["id"][result.issues["is_label_issue"]].tolist()}
    return Changes(
        n_before=len(before), n_still=len(before & now), n_settled=len(before - now), n_new=len(now - before)
    )


def _key(id_: str) -> str:
    """Return an id without the apostrophe that the table has before what a spreadsheet may execute."""
    return id_.removeprefix("'")
