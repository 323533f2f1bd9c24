"""Tables of the experiment on groups, in Markdown: quotas of sources, and caps of rare classes."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.pages.auto_tables import by_method
from benchmarks.pages.experiment_record import MISSING, Record, Run, metrics, provenance, require_complete, spread
from benchmarks.pages.paired_difference import NOTE, paired_difference
from benchmarks.pages.table_parts import table

SOURCES = {"rules": "20 rules", "better annotators": "20 annotators", "annotators": "20 annotators"}
TAIL = "tail "
ONE_CONTAMINATION = "one contamination, true"
ONE_THRESHOLD = "true"
ESTIMATED = "quotas, auto"


def groups_sources(record: Record) -> str:
    """Return the table of labels from several sources, with and without quotas."""
    require_complete(record)
    head = [
        "last epoch",
        "best epoch",
        "difference from one contamination",
        "wrong labels pruned",
        "pruned that are wrong",
    ]
    parts = []
    errors = []
    for name, sources in SOURCES.items():
        methods = _methods_of(record, name)
        share = statistics.mean(metrics(methods[ONE_CONTAMINATION], "true_share"))
        title = f"{sources}, {100 * share:.0f} % wrong"
        cells = {method: _source_cells(runs, methods) for method, runs in methods.items()}
        parts.append(table(f"{title}: test accuracy, %", head, cells))
        errors.append(f"{_quota_error(methods[ESTIMATED])} points for {title}")
    note = (
        f"Difference from one contamination: {NOTE} The last two columns in %, of the last reweight. "
        f"On average, the quotas of “{ESTIMATED}” differ from the true shares by {'; '.join(errors)}."
    )
    return "\n\n".join([*parts, f"{note} {provenance(record)}"])


def groups_tails(record: Record) -> str:
    """Return the tables of test accuracy with rare classes, with and without caps."""
    require_complete(record)
    head = [
        "accuracy",
        "balanced accuracy",
        "balanced, best epoch",
        f"difference from “{ONE_THRESHOLD}”",
        "least class recall",
    ]
    parts = []
    for name in _tails(record):
        methods = _methods_of(record, name)
        cells = {method: _tail_cells(runs, methods, name) for method, runs in methods.items()}
        parts.append(table(_tail_title(name), head, cells))
    note = (
        "In %. Accuracy: classes count as in the training set; balanced: equally. Last epoch, where nothing else is "
        f"stated. Difference from “{ONE_THRESHOLD}”: of the balanced accuracies, {NOTE}"
    )
    return "\n\n".join([*parts, f"{note} {provenance(record)}"])


def groups_pruned(record: Record) -> str:
    """Return the table of the share of each class that is pruned, the most frequent class first."""
    require_complete(record)
    parts = []
    for name in _tails(record):
        methods = {m: runs for m, runs in _methods_of(record, name).items() if "pruned_by_class" in runs[0]["result"]}
        n_classes = len(next(iter(methods.values()))[0]["result"]["pruned_by_class"])
        cells = {}
        for method, runs in methods.items():
            by_class = zip(*metrics(runs, "pruned_by_class"), strict=True)
            cells[method] = [f"{100 * statistics.mean(shares):.0f}" for shares in by_class]
        head = [str(k) for k in range(n_classes)]
        parts.append(table(f"{_tail_title(name)}: labels pruned of class", head, cells))
    note = "In %, of the labels as given; the last reweight, mean over the seeds. Class 0 is the most frequent."
    return "\n\n".join([*parts, f"{note} {provenance(record)}"])


def _methods_of(record: Record, name: str) -> dict[str, list[Run]]:
    return by_method(run for run in record["runs"] if run["settings"]["data"] == name)


def _tails(record: Record) -> list[str]:
    """Return the names of the data sets with rare classes, in the experiment's order."""
    names = dict.fromkeys(run["settings"]["data"] for run in record["runs"])
    return [name for name in names if name.startswith(TAIL)]


def _tail_title(name: str) -> str:
    return f"sizes 1 to {name.removeprefix(TAIL)}"


def _source_cells(runs: Sequence[Run], methods: Mapping[str, Sequence[Run]]) -> list[str]:
    pruned = [MISSING, MISSING]
    if "rounds" in runs[0]["result"]:
        pruned = [spread(metrics(runs, "recall")), spread(metrics(runs, "precision"))]
    compared = MISSING
    if runs is not methods[ONE_CONTAMINATION]:
        found = paired_difference(metrics(runs, "accuracy"), metrics(methods[ONE_CONTAMINATION], "accuracy"))
        compared = found.cell
    return [spread(metrics(runs, "accuracy")), spread(metrics(runs, "best_accuracy")), compared, *pruned]


def _quota_error(runs: Sequence[Run]) -> str:
    """Return the mean absolute error of the estimated quotas, in points."""
    errors = [
        abs(estimated - true)
        for run in runs
        for estimated, true in zip(run["result"]["estimated_shares"], run["result"]["true_shares"], strict=True)
    ]
    return spread([statistics.mean(errors)])


def _tail_cells(runs: Sequence[Run], methods: Mapping[str, Sequence[Run]], name: str) -> list[str]:
    balanced = _balanced(runs)
    compared = MISSING
    if runs is not methods[ONE_THRESHOLD]:
        compared = paired_difference(balanced, _balanced(methods[ONE_THRESHOLD])).cell
    return [
        spread(_weighted(run, float(name.removeprefix(TAIL))) for run in runs),
        spread(balanced),
        spread(metrics(runs, "best_accuracy")),
        compared,
        spread(min(run["result"]["class_recall"]) for run in runs),
    ]


def _balanced(runs: Iterable[Run]) -> list[float]:
    return [statistics.mean(run["result"]["class_recall"]) for run in runs]


def _weighted(run: Run, imbalance: float) -> float:
    """Return the accuracy on a test set whose classes have the sizes of those of the training set."""
    recalls = run["result"]["class_recall"]
    sizes = [imbalance ** (-k / (len(recalls) - 1)) for k in range(len(recalls))]
    return sum(size * recall for size, recall in zip(sizes, recalls, strict=True)) / sum(sizes)
