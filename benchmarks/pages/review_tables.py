"""Tables of the search for wrong labels, of a round trip, and of the list of BANKING77, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

from benchmarks.pages.experiment_record import MISSING, spread
from benchmarks.pages.table_parts import table

Record = dict[str, Any]

TASKS = {
    "images": "images: Fashion-MNIST, a folder of PNG files",
    "texts": "texts: BANKING77, 77 classes, a CSV",
    "numbers": "numbers: MNIST in 196 columns, a CSV",
}

PAGE_TIMES = {"seconds_to_open": "s", "ms_decision": "ms", "ms_search": "ms"}


def find_errors(record: Record) -> str:
    """Return the table of how many planted errors `rrm find` finds, by kind of data."""
    rows: dict[str, Iterable[str]] = {}
    for task, name in TASKS.items():
        runs = [run for run in record["runs"] if run["task"] == task]
        if runs:
            rows[name] = [
                *(_percent(runs, part) for part in ("recall", "precision", "precision_at_wrong", "corrected")),
                spread([run["estimate"]["contamination"] for run in runs]),
                _mean_interval(runs),
                f"{spread([run['seconds'] for run in runs], 1.0, 0)} s",
            ]
    head = ["recall", "precision", "of the first k", "right class", "estimated", "interval", "time"]
    note = (
        f"{record['samples']:,} samples, of which {100 * record['share']:g} % got a wrong label, uniformly; "
        f"{_n_seeds(record)} seeds, mean ± standard deviation, in %. Recall and precision: of the flagged labels. Of "
        "the first k: the share of wrong labels at the top of the list, if k are wrong. Right class: the prediction is "
        "the true class, of the wrong labels that are flagged. The data have errors of their own, which count as "
        f"correct labels here. `{record['command']}`."
    )
    return "\n\n".join([table("", head, rows), note])


def round_trip(record: Record) -> str:
    """Return the table of the accuracy before and after flagged labels were judged."""
    runs = record["runs"]
    rows = {
        name: [spread([run[part][method] for run in runs]) for method in ("plain", "rrm")]
        for name, part in (("labels as given", "before"), ("after the corrections", "after"))
    }
    note = (
        f"Test accuracy in %, {len(runs)} seeds. {spread([run['wrong'] for run in runs], 1.0, 0)} of "
        f"{record['samples']:,} labels are wrong; {spread([run['relabelled'] for run in runs], 1.0, 0)} of them were "
        f"among the flagged labels and relabelled by keys, and {spread([run['kept'] for run in runs], 1.0, 0)} flagged "
        f"labels that are correct were kept. `{record['command']}`."
    )
    return "\n\n".join([table("", ["plain training", "RRM"], rows), note])


def review_page(record: Record) -> str:
    """Return the table of the size and the times of pages."""
    names = {"images": "thumbnails of photographs", "texts": "texts of twelve words"}
    rows = {}
    for kind, page in record["pages"].items():
        rows[f"{page['samples']:,} {names[kind]}"] = [
            f"{page['bytes'] / 1e6:.1f} MB",
            *(_median_and_range(page[part], unit) for part, unit in PAGE_TIMES.items()),
        ]
    head = ["file", "opens in", "a decision", "a search"]
    note = (
        f"Medians of {record['repeats']} times (smallest to largest), in Chromium. Opens in: from the start of the "
        f"navigation until the page can be used. `{record['command']}`."
    )
    return "\n\n".join([table("", head, rows), note])


def banking77(record: Record) -> str:
    """Return what reading the first labels of the list showed."""
    counts = record["counts"]
    n = sum(counts.values())
    return (
        f"Of the first {n} of the list, **{counts['wrong']} labels are wrong**, {counts['debatable']} are debatable, "
        f"as two intents fit, and {counts['right']} are right. `{record['command']}`."
    )


def banking77_list(record: Record) -> str:
    """Return the wrong labels among the first of the list, in its order."""
    lines = ["| | question | given label | better | predicted |", "|---:|---|---|---|---|"]
    for rank, entry in enumerate(record["first"], 1):
        if entry["judgement"] == "wrong":
            text = entry["text"].replace("\n", " ").replace("|", "\\|")
            names = [f"`{entry[name]}`" for name in ("given_label", "better_label", "predicted_label")]
            lines.append(f"| {rank} | {text} | {' | '.join(names)} |")
    note = (
        "Texts and labels: BANKING77, Casanueva et al. 2020, Efficient Intent Detection with Dual Sentence Encoders, "
        "CC BY 4.0."
    )
    return "\n\n".join(["\n".join(lines), note])


def _median_and_range(values: list[float], unit: str) -> str:
    return f"{statistics.median(values):.2g} {unit} ({min(values):.2g} to {max(values):.2g})"


def _percent(runs: list[Record], part: str) -> str:
    return spread([run[part] for run in runs])


def _mean_interval(runs: list[Record]) -> str:
    intervals = [run["estimate"]["interval"] for run in runs if run["estimate"]["interval"] is not None]
    if not intervals:
        return MISSING
    lower, upper = (100 * sum(bounds) / len(bounds) for bounds in zip(*intervals, strict=True))
    return f"{lower:.1f} to {upper:.1f}"


def _n_seeds(record: Record) -> int:
    return len({run["seed"] for run in record["runs"]})
