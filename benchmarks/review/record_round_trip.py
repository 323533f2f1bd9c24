"""Find wrong labels, judge them by keys in a browser, export, apply, train again; record accuracy before and after.

    make test-browser                          # installs what drives the browser
    python -m benchmarks.review.record_round_trip --data FOLDER [--seeds 3] [--draft FILE]

FOLDER holds fashion_mnist.npz. Chromium is that of the system. The judge knows the true labels: it relabels the planted
errors among the flagged labels, and keeps the others. Writes benchmarks/results/round_trip.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.review.browser import open_browser, open_page
from benchmarks.review.planted_errors import FASHION, SHARE, N, Planted, make_npz
from benchmarks.review.record_find import find, read_issues
from rrm_core._cli import run

PACKAGES = ("rrm-core", "torch", "numpy", "pillow", "playwright")
EPOCHS = 60


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs (default: 3)")
    parser.add_argument("--draft", type=Path, help="a file for the results of uncommitted code")
    options = parser.parse_args()
    path = options.draft or RESULTS / "round_trip.json"
    origin = provenance(*PACKAGES, draft=options.draft is not None)
    runs = []
    for seed in range(options.seeds):
        print(f"seed {seed}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            data = make_npz(options.data, Path(folder), seed)
            runs.append({"seed": seed, **measure(data, Path(folder))})
        command = f"python -m benchmarks.review.record_round_trip --data FOLDER --seeds {options.seeds}"
        settings = {"samples": N, "share": SHARE, "epochs": EPOCHS}
        write_record(path, {"command": command, **settings, **origin, "runs": runs})
    print(f"recorded in {path}")
    return 0


def measure(data: Planted, folder: Path) -> dict[str, Any]:
    """Return the numbers of labels judged, and the accuracies before and after."""
    find(data, folder / "first")
    corrections = folder / "corrections.csv"
    n_relabelled, n_kept = judge(data, folder / "first", corrections)
    n_wrong = sum(data.is_wrong.values())
    again = Planted(data.path, ("--corrections", str(corrections)), data.true_label, data.is_wrong)
    find(again, folder / "first")
    summary = (folder / "first" / "summary.txt").read_text()
    return {
        "wrong": n_wrong,
        "relabelled": n_relabelled,
        "kept": n_kept,
        "wrong_after": n_wrong - n_relabelled,
        "before": train(data.path, folder / "before"),
        "after": train(data.path, folder / "after", "--corrections", str(corrections)),
        "changes": next(line for line in summary.splitlines() if line.startswith("The earlier run")),
    }


def judge(data: Planted, out: Path, corrections: Path) -> tuple[int, int]:
    """Judge the flagged labels by keys, and export the decisions; return how many were relabelled and kept."""
    flagged = [row["id"] for row in read_issues(out / "issues.csv") if row["is_label_issue"] == "True"]
    keys = [_key(data, name) for name in flagged]
    with open_browser() as browser:
        page = open_page(browser, out / "review.html")
        page.get_by_role("checkbox", name="Flagged").check()
        page.keyboard.press("Escape")
        for key in keys:
            page.keyboard.press(key)
        _export(page, corrections)
    return len(keys) - keys.count("k"), keys.count("k")


def _key(data: Planted, name: str) -> str:
    """Return the key of the true class of a wrong label, or that of keep."""
    if not data.is_wrong[name]:
        return "k"
    return str((FASHION.index(data.true_label[name]) + 1) % 10)


def _export(page: Page, path: Path) -> None:
    page.keyboard.press("e")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    download.value.save_as(path)


def train(data: Path, report: Path, *options: str) -> dict[str, float]:
    """Return the test accuracy of plain training and of RRM."""
    arguments = ["train", "--data", str(data), "--report", str(report), "--seeds", "1", "--threads", "1", *options]
    arguments += ["--epochs", str(EPOCHS)]
    subprocess.run([sys.executable, "-m", "rrm_torch", *arguments], check=True, stdout=subprocess.DEVNULL)
    (trial,) = json.loads((report / "results.json").read_text())["trials"]
    return {"plain": trial["plain"]["accuracy"], "rrm": trial["rrm"]["accuracy"]}


if __name__ == "__main__":
    sys.exit(run("record_round_trip", main))
