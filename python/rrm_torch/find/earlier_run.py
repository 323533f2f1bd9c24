"""What changed since an earlier run in the same folder."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from .output_folder import NUMBERS, TABLE
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


def read_flagged(folder: Path, fingerprint: str) -> frozenset[str] | None:
    """Return the ids of the samples that an earlier run on the same data flagged; None if there was none.

    The ids lack an apostrophe at their start.

    Parameters
    ----------
    folder : Path
        Where an earlier run may have written issues.csv and results.json. Files of something else are no earlier run.
    fingerprint : str
        Of the samples and their labels, see `LabelledData.fingerprint`.
    """
    try:
        numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        if not isinstance(numbers, dict) or numbers.get("labels_sha256") != fingerprint:
            return None
        with (folder / TABLE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            if not {"id", "is_label_issue"} <= set(rows.fieldnames or ()):
                return None
            return frozenset(_key(row["id"] or "") for row in rows if row["is_label_issue"] == "True")
    except (OSError, ValueError, csv.Error):
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
