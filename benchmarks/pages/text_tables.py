"""Tables of the experiment on texts, in Markdown: a pure function for each block on a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.pages.auto_tables import by_method
from benchmarks.pages.data_sets import by_data_set
from benchmarks.pages.experiment_record import MISSING, Record, Run, metrics, provenance, require_complete, spread
from benchmarks.pages.paired_difference import NOTE, WITHIN_NOISE, PairedDifference, paired_difference
from benchmarks.pages.table_parts import table

PLAIN = "plain"
AUTO = "auto"
CHECKED = "quotas, checked"
ESTIMATED = "quotas, auto"
CORRECT = "correct labels"
METHODS = {
    PLAIN: "plain training",
    AUTO: "RRM, auto",
    "true": "RRM, true C",
    "true, warm-up 1": "RRM, true C, warm-up 1",
    ESTIMATED: "RRM, quotas, estimated",
    CHECKED: "RRM, quotas, checked",
    CORRECT: "correct labels only",
}
EPOCHS = {"accuracy": "last epoch", "best_accuracy": "best epoch"}
TITLES = {"BANKING77, clean": "BANKING77, as published", "SMS Spam, rules": "SMS Spam, labels of rules"}
"""Titles of rows whose labels are not made up."""


def text_accuracy(record: Record) -> str:
    """Return the table of test accuracy by row and method, and sentences about the difference of auto and plain."""
    require_complete(record)
    rows = rows_of(record)
    head = [column for epoch in EPOCHS.values() for column in (epoch, f"{epoch}, difference from plain")]
    cells = {
        f"{title}: {METHODS[method]}": _accuracy_cells(runs, methods)
        for title, methods in rows.items()
        for method, runs in methods.items()
    }
    verdicts = []
    for metric, epoch in EPOCHS.items():
        differences = {title: difference(methods[AUTO], methods, metric) for title, methods in rows.items()}
        verdicts.append(f"{epoch.capitalize()}, {len(rows)} rows: {_verdict(differences)}")
    note = (
        f"Difference from plain: {NOTE} C: the true share of wrong labels. Quotas: a share for each number of rules "
        "that fired. The best epoch cannot be chosen without clean labels."
    )
    return "\n\n".join([table("test accuracy, %", head, cells), *verdicts, f"{note} {provenance(record)}"])


def text_pruned(record: Record) -> str:
    """Return the table of estimates, and of how many of the labels that were pruned are wrong."""
    require_complete(record)
    head = ["wrong", "estimate", "runs that prune", "pruned", "precision", "recall", "memorised"]
    cells = {
        f"{title}: {METHODS[method]}": _pruned_cells(method, runs)
        for title, methods in rows_of(record).items()
        for method, runs in methods.items()
        if method != CORRECT
    }
    note = (
        "In % of the training labels. Pruned: by the last reweight; precision: the share of wrong labels among them, "
        "in the runs that prune; recall: the share of the wrong labels that are pruned. Memorised: the share of the "
        "wrong labels that the model predicts. Which labels of BANKING77 are wrong is not known."
    )
    return "\n\n".join([table("labels, %", head, cells), f"{note} {provenance(record)}"])


def text_groups(record: Record) -> str:
    """Return the table of the groups of the text messages, by how many rules fired."""
    require_complete(record)
    found = {
        method: metrics(runs, "groups")
        for methods in rows_of(record).values()
        for method, runs in methods.items()
        if method in (ESTIMATED, CHECKED)
    }
    checked = found[CHECKED][0]
    n_groups = len(checked["size"])
    cells = {}
    for g in range(n_groups):
        n_pruned = [groups["pruned"][g] for groups in found[CHECKED]]
        n_wrong = [groups["wrong_pruned"][g] for groups in found[CHECKED]]
        cells[_rules(g, n_groups)] = [
            f"{checked['size'][g]:,}",
            *(spread([checked[name][g]]) for name in ("true", "checked")),
            spread(groups["estimated"][g] for groups in found[ESTIMATED]),
            spread(n_pruned, 1.0),
            spread(n_wrong, 1.0),
        ]
    head = [
        "labels",
        "wrong, %",
        "wrong among those checked, %",
        "estimated, %",
        "pruned by quotas, checked",
        "wrong ones among them",
    ]
    note = "Checked: the validation messages on which as many rules fired, whose true labels are known."
    return "\n\n".join([table("rules that fired", head, cells), f"{note} {provenance(record)}"])


def rows_of(record: Record) -> dict[str, dict[str, list[Run]]]:
    """Return the runs by the title of their data set and noise, by method, and by seed."""
    return {TITLES.get(title, title): by_method(runs) for title, runs in by_data_set(record).items()}


def difference(runs: Sequence[Run], methods: Mapping[str, Sequence[Run]], metric: str) -> PairedDifference:
    """Return the accuracy of a method less that of plain training."""
    return paired_difference(metrics(runs, metric), metrics(methods[PLAIN], metric))


def _accuracy_cells(runs: Sequence[Run], methods: Mapping[str, Sequence[Run]]) -> list[str]:
    cells = []
    for metric in EPOCHS:
        cells.append(spread(metrics(runs, metric)))
        cells.append(MISSING if runs is methods[PLAIN] else difference(runs, methods, metric).cell)
    return cells


def _verdict(differences: Mapping[str, PairedDifference]) -> str:
    """Return in words where auto is better and worse than plain training, the better ones first."""
    if any(found.standard_error is None for found in differences.values()):
        return "one seed has no standard error."
    notable = {title: found for title, found in differences.items() if not found.is_within_noise}
    better = [title for title, found in notable.items() if found.mean > 0]
    worse = [title for title, found in notable.items() if found.mean < 0]
    return (
        f"RRM, auto, is better than plain training by more than two standard errors in {_listed(better)}, worse in "
        f"{_listed(worse)}, and {WITHIN_NOISE} in {len(differences) - len(notable)}."
    )


def _listed(titles: Sequence[str]) -> str:
    """Return the number of rows and their titles."""
    return f"{len(titles)} ({'; '.join(titles)})" if titles else "0"


def _pruned_cells(method: str, runs: Sequence[Run]) -> list[str]:
    true_share = MISSING
    if _has_known_errors(runs):
        true_share = spread([statistics.mean(metrics(runs, "true_share"))])
    memorised = spread(metrics(runs, "memorised"))
    if method == PLAIN:
        return [true_share, *[MISSING] * 5, memorised]
    estimate = MISSING
    if method in (AUTO, ESTIMATED):
        estimate = spread(run["result"]["estimate"]["contamination"] for run in runs)
    n_pruned = [run["result"]["rounds"]["n_pruned"][-1] for run in runs]
    pruned = [count / run["result"]["n"] for count, run in zip(n_pruned, runs, strict=True)]
    precision = MISSING
    if _has_known_errors(runs):
        precision = spread(_precisions(runs))
    recall = spread(metrics(runs, "recall"))
    n_pruning = sum(count > 0 for count in n_pruned)
    return [true_share, estimate, f"{n_pruning} of {len(runs)}", spread(pruned), precision, recall, memorised]


def _precisions(runs: Iterable[Run]) -> list[float]:
    """Return the precision of the runs that prune."""
    return [value for value in metrics(runs, "precision") if value is not None]


def _has_known_errors(runs: Sequence[Run]) -> bool:
    return bool(runs[0]["result"]["true_share"] > 0)


def _rules(group: int, n_groups: int) -> str:
    if group == n_groups - 1:
        return f"{group + 1} or more"
    return str(group + 1)
