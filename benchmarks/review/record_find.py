"""Run `rrm find` on data with planted label errors, and record how many it finds, and the time.

    python -m benchmarks.review.record_find --data FOLDER [--seeds 3] [--draft FILE]

FOLDER holds fashion_mnist.npz and mnist.npz (x_train, y_train, x_test, y_test), and banking77.tsv.xz (split, label,
text). Writes benchmarks/results/find.json. Runs in that record, of the same commit, are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.review.planted_errors import SHARE, N, Planted, make_images, make_numbers, make_texts
from rrm_core._cli import run

TASKS = {"images": make_images, "texts": make_texts, "numbers": make_numbers}
PACKAGES = ("rrm-core", "torch", "numpy", "scikit-learn", "pandas", "pillow")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each kind (default: 3)")
    parser.add_argument("--draft", type=Path, help="a file for the results of uncommitted code")
    options = parser.parse_args()
    path = options.draft or RESULTS / "find.json"
    origin = provenance(*PACKAGES, draft=options.draft is not None)
    runs: list[dict[str, Any]] = []
    if path.exists():
        previous = json.loads(path.read_text())
        runs = [entry for entry in previous["runs"] if entry["commit"] == origin["commit"]]
    done = {(entry["task"], entry["seed"]) for entry in runs}
    for task, make in TASKS.items():
        for seed in range(options.seeds):
            if (task, seed) in done:
                continue
            print(f"{task}, seed {seed}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                measured = measure(make(options.data, Path(folder), seed), Path(folder) / "out")
            runs.append({"task": task, "seed": seed, "commit": origin["commit"], **measured})
            runs.sort(key=lambda entry: (list(TASKS).index(entry["task"]), entry["seed"]))
            command = f"python -m benchmarks.review.record_find --data FOLDER --seeds {options.seeds}"
            write_record(path, {"command": command, "samples": N, "share": SHARE, **origin, "runs": runs})
    print(f"recorded in {path}")
    return 0


def measure(data: Planted, out: Path) -> dict[str, Any]:
    """Return how many planted errors a search finds, the estimate, the time and the size of the page."""
    start = time.perf_counter()
    find(data, out)
    seconds = time.perf_counter() - start
    issues = read_issues(out / "issues.csv")
    ids = [row["id"] for row in issues]
    is_wrong = np.array([data.is_wrong[name] for name in ids])
    is_flagged = np.array([row["is_label_issue"] == "True" for row in issues])
    is_right = np.array([row["predicted_label"] == data.true_label[row["id"]] for row in issues])
    numbers = json.loads((out / "results.json").read_text())
    n_wrong = int(is_wrong.sum())
    return {
        "wrong": n_wrong,
        "flagged": int(is_flagged.sum()),
        "precision": float(is_wrong[is_flagged].mean()),
        "recall": float(is_flagged[is_wrong].mean()),
        "precision_at_wrong": float(is_wrong[:n_wrong].mean()),
        "corrected": float(is_right[is_flagged & is_wrong].mean()),
        "estimate": numbers["estimate"],
        "seconds": seconds,
        "page_bytes": (out / "review.html").stat().st_size,
    }


def find(data: Planted, out: Path) -> None:
    """Run the command."""
    arguments = ["find", str(data.path), "--out", str(out), *data.options]
    subprocess.run([sys.executable, "-m", "rrm_torch", *arguments], check=True, stdout=subprocess.DEVNULL)


def read_issues(path: Path) -> list[dict[str, str]]:
    """Return the rows of the table, the most suspicious first."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    sys.exit(run("record_find", main))
