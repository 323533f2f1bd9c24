"""Tables of the experiment with linear classifiers of frozen features: a pure function for each block on a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping

from benchmarks.pages.experiment_record import (
    Record,
    distinct,
    methods,
    metrics,
    provenance,
    require_complete,
    results,
    select,
    spread,
)
from benchmarks.pages.paired_difference import NOTE, WITHIN_NOISE, PairedDifference, paired_difference
from benchmarks.pages.table_parts import table

PLAIN = "plain"
EPOCHS = {"accuracy": "last epoch", "best_accuracy": "best epoch"}
PARTS = {
    "memorised": "wrong labels memorised",
    "fitted": "correct labels fitted",
    "recall": "recall",
    "precision": "precision",
}


def probe_accuracy(record: Record) -> str:
    """Return the tables of test accuracy of the last and of the best epoch, with the differences from plain."""
    require_complete(record)
    kinds = distinct(record, "labels")
    parts = []
    for metric, epoch in EPOCHS.items():
        found = differences(record, metric)
        rows = {}
        for method in methods(record):
            accuracies = [spread(results(record, method, metric, labels=kind)) for kind in kinds]
            rows[method] = [*accuracies, *(found[method, kind].cell if method != PLAIN else "" for kind in kinds)]
        head = [*kinds, *(f"{kind}, − plain" for kind in kinds)]
        parts += [table(f"test accuracy, {epoch}, %", head, rows), f"{epoch.capitalize()}: {verdict(found)}"]
    note = (
        f"− plain: {NOTE} C: the share of wrong labels in the whole training set. The best epoch cannot be chosen "
        f"without clean labels. {_size(record)}"
    )
    return "\n\n".join([*parts, f"{note} {provenance(record)}"])


def probe_pruned(record: Record) -> str:
    """Return the table of what was memorised, fitted and pruned, with the time of a run."""
    require_complete(record)
    rows: dict[str, Iterable[str]] = {}
    for kind in distinct(record, "labels"):
        for method in methods(record):
            runs = select(record, method, labels=kind)
            seconds = spread([run["seconds"] - run["result"]["task_seconds"] for run in runs], 1.0)
            shares = (spread(results(record, method, part, labels=kind)) for part in PARTS)
            estimate = spread(results(record, method, "estimate", "contamination", labels=kind))
            rows[f"{kind}: {method}"] = [*shares, estimate, seconds]
    head = [*(f"{title}, %" for title in PARTS.values()), "estimate of C, %", "seconds"]
    shares = ", ".join(
        f"{kind} {100 * statistics.mean(metrics(select(record, PLAIN, labels=kind), 'true_share')):.1f} %"
        for kind in distinct(record, "labels")
    )
    note = (
        "Memorised: training accuracy on the wrong labels; fitted: on the correct ones. Recall: share of the wrong "
        "labels that the last reweight pruned, or that cleanlab listed; precision: share of these labels that are "
        f"wrong. Wrong in fact: {shares}. Seconds: of a run without the features."
    )
    return "\n\n".join([table("", head, rows), f"{note} {provenance(record)}"])


def differences(record: Record, metric: str) -> dict[tuple[str, str], PairedDifference]:
    """Return the accuracy less that of plain training, by method and kind of labels."""
    return {
        (method, kind): paired_difference(
            results(record, method, metric, labels=kind), results(record, PLAIN, metric, labels=kind)
        )
        for kind in distinct(record, "labels")
        for method in methods(record)
        if method != PLAIN
    }


def verdict(found: Mapping[tuple[str, str], PairedDifference]) -> str:
    """Return in words where methods are better and worse than plain training."""
    if any(difference.standard_error is None for difference in found.values()):
        return "one seed has no standard error."
    notable = {key: difference for key, difference in found.items() if not difference.is_within_noise}
    better = {key: difference for key, difference in notable.items() if difference.mean > 0}
    worse = {key: difference for key, difference in notable.items() if difference.mean < 0}
    return (
        f"of {len(found)} differences, {_listed(better)} are above 0 by more than two standard errors, "
        f"{_listed(worse)} below, and {len(found) - len(notable)} {WITHIN_NOISE}."
    )


def _listed(found: Mapping[tuple[str, str], PairedDifference]) -> str:
    """Return the number of differences, and each with its name."""
    if not found:
        return "0"
    names = "; ".join(f"{method} on {kind}: {difference.points}" for (method, kind), difference in found.items())
    return f"{len(found)} ({names})"


def _size(record: Record) -> str:
    settings = record["runs"][0]["settings"]
    recipe = settings["recipe"]
    return (
        f"{settings['samples']:,} of 50,000 images, drawn anew for each seed, at {settings['pixels']} pixels; "
        f"{recipe['epochs']} epochs."
    )
