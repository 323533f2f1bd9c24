"""Tables of the experiment on what ranks the samples, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.pages.auto_tables import by_method
from benchmarks.pages.data_sets import by_data_set
from benchmarks.pages.experiment_record import MISSING, Record, Run, metrics, provenance, require_complete, spread
from benchmarks.pages.paired_difference import NOTE, paired_difference
from benchmarks.pages.table_parts import table

LOSS = "loss"


def scores_accuracy(record: Record) -> str:
    """Return the tables of test accuracy by what ranks the samples, and of the difference from the loss."""
    require_complete(record)
    tables = [
        _table(record, "test accuracy, last epoch, %", lambda runs, _: spread(metrics(runs, "accuracy"))),
        _table(record, "test accuracy, best epoch, %", lambda runs, _: spread(metrics(runs, "best_accuracy"))),
        _table(record, "last epoch, difference from the loss", _difference_cell),
    ]
    note = f"Every method is told the true share of wrong labels. Difference from the loss: {NOTE}"
    return "\n\n".join([*tables, f"{note} {provenance(record)}"])


def scores_pruned(record: Record) -> str:
    """Return the tables of the wrong labels pruned, and of the class that is predicted worst."""
    require_complete(record)
    tables = [
        _table(record, "wrong labels pruned, %", lambda runs, _: spread(metrics(runs, "recall"))),
        _table(record, "least class recall, last epoch, %", lambda runs, _: spread(map(_least_recall, runs))),
    ]
    note = "Wrong labels pruned: by the last reweight. Least class recall: of the test samples of the worst class."
    return "\n\n".join([*tables, f"{note} {provenance(record)}"])


Cell = Callable[[Sequence[Run], Sequence[Run]], str]


def _table(record: Record, corner: str, cell: Cell) -> str:
    """Return a table whose cells are made of the runs of a method, and those of the loss."""
    rows = {title: by_method(runs) for title, runs in by_data_set(record).items()}
    methods = list(dict.fromkeys(method for cells in rows.values() for method in cells))
    cells = {title: [cell(runs[method], runs[LOSS]) for method in methods] for title, runs in rows.items()}
    return table(corner, methods, cells)


def _difference_cell(runs: Sequence[Run], reference: Sequence[Run]) -> str:
    if runs is reference:
        return MISSING
    return paired_difference(metrics(runs, "accuracy"), metrics(reference, "accuracy")).cell


def _least_recall(run: Run) -> float:
    return min(run["result"]["class_recall"])
