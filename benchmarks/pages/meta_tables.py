"""Tables of the experiment with a small clean set, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

from benchmarks.pages.auto_tables import by_method
from benchmarks.pages.data_sets import by_data_set
from benchmarks.pages.experiment_record import MISSING, Record, Run, metrics, provenance, require_complete, spread
from benchmarks.pages.paired_difference import NOTE, paired_difference
from benchmarks.pages.table_parts import table

PLAIN = "plain"
RRM = "RRM, auto"

Methods = dict[str, list[Run]]
Cell = Callable[[Methods, str], str]


def meta_accuracy(record: Record) -> str:
    """Return the tables of test accuracy by method and kind of noise, and of the difference from RRM."""
    require_complete(record)
    tables = [
        _table(record, "test accuracy, last epoch, %", lambda methods, name: _spread(methods[name], "accuracy")),
        _table(record, "test accuracy, best epoch, %", lambda methods, name: _spread(methods[name], "best_accuracy")),
        _table(record, "last epoch, difference from RRM", _difference_cell),
    ]
    note = (
        "Numbers at a method: its clean samples, as many of each class, with correct labels, in addition to the 10,000 "
        f"noisy ones. Difference from RRM: {NOTE}"
    )
    return "\n\n".join([*tables, f"{note} {provenance(record)}"])


def meta_weights(record: Record) -> str:
    """Return the tables of the wrong labels memorised, and of the weight that wrong labels have."""
    require_complete(record)
    tables = [
        _table(record, "wrong labels memorised, %", lambda methods, name: _spread(methods[name], "memorised")),
        _table(record, "weight of wrong labels, in % of that of correct ones", _weight_cell),
    ]
    note = "Memorised: training accuracy on the wrong labels. Weight: mean weights in the last epoch."
    return "\n\n".join([*tables, f"{note} {provenance(record)}"])


def meta_cost(record: Record) -> str:
    """Return the table of the time that an epoch takes, in times of plain training."""
    require_complete(record)
    ratios: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for runs in by_data_set(record).values():
        methods = by_method(runs)
        plain = _timed(methods[PLAIN])
        for name, own in methods.items():
            timed = _timed(own)
            both = timed.keys() & plain.keys()
            ratios.setdefault(name, []).extend(timed[seed] / plain[seed] for seed in both)
            seconds.setdefault(name, []).extend(timed.values())
    cells = {
        name: [f"{statistics.median(seconds[name]):.2f} s", f"{statistics.median(ratios[name]):.1f}x"]
        for name in ratios
        if ratios[name]
    }
    note = (
        "Seconds of one core for an epoch of training, without the evaluation; and the ratio to plain training with "
        "the same noise and seed. Medians over all runs, on a machine that was busy with other work too."
    )
    return "\n\n".join([table("an epoch", ["seconds", "times plain training"], cells), f"{note} {provenance(record)}"])


def _table(record: Record, corner: str, cell: Cell) -> str:
    """Return a table with a row for each method and a column for each kind of noise."""
    columns = {title: by_method(runs) for title, runs in by_data_set(record).items()}
    names = list(dict.fromkeys(name for methods in columns.values() for name in methods))
    cells = {name: [cell(methods, name) for methods in columns.values()] for name in names}
    rows = {name: row for name, row in cells.items() if set(row) != {MISSING}}
    return table(corner, list(columns), rows)


def _spread(runs: Sequence[Run], metric: str) -> str:
    return spread(metrics(runs, metric))


def _difference_cell(methods: Methods, name: str) -> str:
    if name == RRM:
        return MISSING
    return paired_difference(metrics(methods[name], "accuracy"), metrics(methods[RRM], "accuracy")).cell


def _weight_cell(methods: Methods, name: str) -> str:
    weights = [run["result"].get("mean_weight") for run in methods[name]]
    return spread(None if weight is None else weight["wrong"] / weight["clean"] for weight in weights)


def _timed(runs: Sequence[Run]) -> dict[int, float]:
    """Return the seconds of an epoch by seed, of the runs that were timed."""
    return {run["seed"]: run["result"]["seconds_per_epoch"] for run in runs if run["result"]["seconds_per_epoch"]}
