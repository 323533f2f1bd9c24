"""Tables of the experiment on listing wrong labels, in Markdown: a pure function for each block on a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.pages.data_sets import by_data_set
from benchmarks.pages.experiment_record import MISSING, Record, Run, provenance, require_complete, spread
from benchmarks.pages.paired_difference import WITHIN_NOISE, paired_difference
from benchmarks.pages.table_parts import row

ORDERS = {
    "average_precision": "average precision, %",
    "precision_at_100": "wrong among the first 100, %",
    "precision_at_true_number": "wrong among the first, as many as there are wrong labels, %",
}
LEAD_NOTE = (
    "Bold: the best mean. Lead: by how much it exceeds the next best, in points, as the mean of the differences by "
    f"seed; {WITHIN_NOISE} if it is at most two standard errors."
)


@dataclass(frozen=True)
class Cell:
    """One method on one data set.

    Attributes
    ----------
    text : str
    merits : sequence of float
        By seed; the higher, the better. Empty if the method has no result.
    """

    text: str
    merits: Sequence[float]


def detection_order(record: Record) -> str:
    """Return the tables of how well the methods sort the labels."""
    require_complete(record)
    tables = []
    for metric, title in ORDERS.items():
        rows = {}
        for name, runs in by_data_set(record).items():
            if runs[0]["result"]["n_wrong"]:
                rows[name] = {m: _share_cell(values) for m, values in _by_listing(runs, metric).items()}
        tables.append(_compared(title, rows))
    note = (
        "All labels, the most suspicious first. Average precision: the mean, over the wrong labels, of the share of "
        f"wrong labels down to each. {LEAD_NOTE} {_budget(record)} {provenance(record)}"
    )
    return "\n\n".join([*tables, note])


def detection_lists(record: Record) -> str:
    """Return the tables of the labels that the methods list by themselves: F1, and how many there are."""
    require_complete(record)
    f1_rows = {}
    number_rows = {}
    for name, runs in by_data_set(record).items():
        listed = _by_listing(runs, "n_listed")
        shares = {m: [n / runs[0]["result"]["n"] for n in values] for m, values in listed.items() if values}
        true_share = statistics.mean(run["result"]["n_wrong"] / run["result"]["n"] for run in runs)
        if true_share:
            f1 = _by_listing(runs, "f1")
            f1_rows[name] = {m: _share_cell(f1[m]) for m in shares}
        number_rows[f"{name}: {100 * true_share:.1f} % wrong"] = {
            m: Cell(spread(values), [-abs(value - true_share) for value in values]) for m, values in shares.items()
        }
    tables = [_compared("F1 of the list, %", f1_rows), _compared("share of the labels listed, %", number_rows)]
    note = (
        "Each method's own list of wrong labels. F1: the harmonic mean of precision and recall. Of the shares, the one "
        f"nearest to that of the wrong labels is the best. {LEAD_NOTE} {_budget(record)} {provenance(record)}"
    )
    return "\n\n".join([*tables, note])


def lead(best: Sequence[float], other: Sequence[float]) -> str:
    """Return by how much one method exceeds another, in points; in words if the paired difference may be chance."""
    found = paired_difference(best, other)
    if found.standard_error is None:
        return MISSING
    if found.is_within_noise:
        return WITHIN_NOISE
    return f"{100 * found.mean:.1f}"


def _by_listing(runs: Iterable[Run], metric: str) -> dict[str, list[float]]:
    """Return a metric of every listing, by seed."""
    values: dict[str, list[float]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        for name, metrics in run["result"]["listings"].items():
            kept = values.setdefault(name, [])
            if metrics[metric] is not None:
                kept.append(metrics[metric])
    return values


def _share_cell(values: Sequence[float]) -> Cell:
    return Cell(spread(values), values)


def _compared(corner: str, rows: Mapping[str, Mapping[str, Cell]]) -> str:
    """Return a table with the best cell of each row in bold, and its lead in the last column."""
    methods = list(dict.fromkeys(method for cells in rows.values() for method in cells))
    lines = [row(corner, [*methods, "lead"]), "|---|" + "---:|" * (len(methods) + 1)]
    for name, cells in rows.items():
        ranked = sorted((c.merits for c in cells.values() if c.merits), key=statistics.mean, reverse=True)
        best = statistics.mean(ranked[0])
        texts = []
        for method in methods:
            cell = cells.get(method, Cell(MISSING, ()))
            is_best = bool(cell.merits) and statistics.mean(cell.merits) == best
            texts.append(f"**{cell.text}**" if is_best else cell.text)
        lines.append(row(name, [*texts, lead(ranked[0], ranked[1])]))
    return "\n".join(lines)


def _budget(record: Record) -> str:
    """Return in words how the budget is divided."""
    folds = next(run["settings"]["folds"] for run in record["runs"] if "folds" in run["settings"])
    early = next(run["settings"]["early"] for run in record["runs"] if "early" in run["settings"])
    return (
        "Of the test sets, labels that no annotator checked count as correct. "
        f"Every method trains on as many samples in all: confident learning on {folds} folds for a share "
        f"1/{folds - 1} of the epochs each, AUM twice for half of them, the others once. Early epoch: number {early}."
    )
