"""Run `rrm find` on BANKING77 as it is, and record how many of the first 100 labels are wrong by reading them.

    python -m benchmarks.review.record_banking77 --data FOLDER [--draft FILE]

FOLDER holds banking77.tsv.xz (split, label, text): BANKING77, CC BY 4.0 (Casanueva et al. 2020), 10,003 training texts
of 77 intents. banking77_judgement.csv beside this file has a judgement of each of the first 100: wrong, if another
intent says what is asked and the given one doesn't; debatable, if both fit; or right. Writes
benchmarks/results/banking77.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.review.planted_errors import Planted, read_banking77, write_csv
from benchmarks.review.record_find import find, read_issues
from rrm_core._cli import run

FIRST = 100
JUDGEMENTS = ("wrong", "debatable", "right")
FILE = Path(__file__).with_name("banking77_judgement.csv")
PACKAGES = ("rrm-core", "torch", "numpy", "scikit-learn", "pandas")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--draft", type=Path, help="a file for the results of uncommitted code")
    options = parser.parse_args()
    path = options.draft or RESULTS / "banking77.json"
    origin = provenance(*PACKAGES, draft=options.draft is not None)
    rows = [row for row in read_banking77(options.data) if row["split"] == "train"]
    with tempfile.TemporaryDirectory() as folder:
        cells = [[number, row["text"], row["label"]] for number, row in enumerate(rows)]
        source = write_csv(Path(folder) / "banking77.csv", ["id", "text", "label"], cells)
        find(Planted(source, (), {}, {}), Path(folder) / "out")
        issues = read_issues(Path(folder) / "out" / "issues.csv")
        numbers = json.loads((Path(folder) / "out" / "results.json").read_text())
    first = [describe(issue, rows[int(issue["id"])]["text"]) for issue in issues[:FIRST]]
    counts = {name: sum(entry["judgement"] == name for entry in first) for name in JUDGEMENTS}
    command = "python -m benchmarks.review.record_banking77 --data FOLDER"
    result = {"command": command, "samples": len(rows), **origin, "found": numbers, "counts": counts, "first": first}
    write_record(path, result)
    print(f"of the first {FIRST}: {counts}; recorded in {path}")
    return 0


def describe(issue: dict[str, str], text: str) -> dict[str, Any]:
    """Return a row of the list with its judgement; a SystemExit without one."""
    judgement = read_judgements().get((issue["id"], issue["given_label"]))
    if judgement is None:
        raise SystemExit(
            f"row {issue['id']}, {issue['given_label']}: {text!r} has no judgement in {FILE.name}; read it and add one"
        )
    return {
        "row": int(issue["id"]),
        "text": text,
        "given_label": issue["given_label"],
        "predicted_label": issue["predicted_label"],
        "confidence": float(issue["confidence"]),
        "judgement": judgement["judgement"],
        "better_label": judgement["better_label"],
    }


def read_judgements() -> dict[tuple[str, str], dict[str, str]]:
    """Return the judgements by row and given label."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return {(row["row"], row["given_label"]): row for row in csv.DictReader(file)}


if __name__ == "__main__":
    sys.exit(run("record_banking77", main))
