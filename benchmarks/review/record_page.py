"""Record the size of review pages, and how long they take to open, to take a decision and to filter.

    make test-browser                          # installs what drives the browser
    python -m benchmarks.review.record_page [--draft FILE]

One page has 1,000 thumbnails of photographs, one 100,000 texts. Writes benchmarks/results/review_page.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_sample_images

from benchmarks.common.record import RESULTS, provenance, write_record
from benchmarks.review.browser import open_browser, open_page
from rrm_core._cli import run
from rrm_review import write_page

N_IMAGES = 1_000
N_TEXTS = 100_000
SIDE = 256  # pixels of a photograph; thumbnails have 160
REPEATS = 7
PACKAGES = ("rrm-core", "numpy", "pillow", "playwright")

MEDIAN = "const median = values => values.sort((a, b) => a - b)[values.length >> 1];"
DECIDE = f"""() => {{
  {MEDIAN}
  const times = [];
  for (let i = 0; i < 20; i++) {{
    const start = performance.now();
    document.dispatchEvent(new KeyboardEvent("keydown", {{ key: "k", bubbles: true }}));
    times.push(performance.now() - start);
  }}
  return median(times);
}}"""
FILTER = f"""() => {{
  {MEDIAN}
  const field = document.getElementById("filter-text");
  const times = [];
  for (const text of ["a", "ab", "q", "pin", "7"]) {{
    field.value = text;
    const start = performance.now();
    field.dispatchEvent(new Event("input"));
    times.push(performance.now() - start);
  }}
  return median(times);
}}"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draft", type=Path, help="a file for the results of uncommitted code")
    options = parser.parse_args()
    path = options.draft or RESULTS / "review_page.json"
    origin = provenance(*PACKAGES, draft=options.draft is not None)
    pages = {}
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        for name, samples in {"images": make_photographs(), "texts": make_texts()}.items():
            file = Path(folder) / f"{name}.html"
            start = time.perf_counter()
            n = write_page(make_issues(len(samples)), samples, file)
            entry: dict[str, Any] = {"samples": n, "bytes": file.stat().st_size}
            entry["seconds_to_write"] = time.perf_counter() - start
            repeats = [measure(browser, file) for _ in range(REPEATS)]
            entry |= {part: [repeat[part] for repeat in repeats] for part in repeats[0]}
            pages[name] = entry
    command = "python -m benchmarks.review.record_page"
    write_record(path, {"command": command, "repeats": REPEATS, **origin, "pages": pages})
    print(f"recorded in {path}")
    return 0


def measure(browser: Any, file: Path) -> dict[str, float]:
    """Return the seconds until the page can be used, and the milliseconds of a decision and of a search."""
    start = time.perf_counter()
    page = open_page(browser, file)
    seconds = time.perf_counter() - start
    result = {"seconds_to_open": seconds, "ms_decision": page.evaluate(DECIDE), "ms_search": page.evaluate(FILTER)}
    page.context.close()
    return result


def make_photographs() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return parts of the photographs that scikit-learn ships."""
    rng = np.random.default_rng(0)
    photographs = load_sample_images().images
    parts = []
    for number in range(N_IMAGES):
        photograph = photographs[number % len(photographs)]
        top = rng.integers(photograph.shape[0] - SIDE)
        left = rng.integers(photograph.shape[1] - SIDE)
        parts.append(photograph[top : top + SIDE, left : left + SIDE])
    return np.stack(parts)


def make_texts() -> list[str]:
    """Return sentences of twelve made-up words."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, length)) for length in rng.integers(2, 10, 2000)])
    return [" ".join(row) for row in words[rng.integers(0, len(words), (N_TEXTS, 12))]]


def make_issues(n: int) -> dict[str, Any]:
    """Return a table of label issues of ten classes."""
    rng = np.random.default_rng(0)
    labels = np.array([f"class {number}" for number in range(10)], dtype=object)
    return {
        "index": np.arange(n),
        "is_label_issue": np.arange(n) < n // 20,
        "label_quality": np.arange(1, n + 1, dtype=np.float32) / n,
        "given_label": labels[rng.integers(0, 10, n)],
        "predicted_label": labels[rng.integers(0, 10, n)],
        "confidence": rng.random(n, dtype=np.float32),
        "loss": rng.random(n, dtype=np.float32),
    }


if __name__ == "__main__":
    sys.exit(run("record_page", main))
