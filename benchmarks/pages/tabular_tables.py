"""Tables of the experiment on tables, in Markdown: a pure function for each block on a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.pages.experiment_record import MISSING, Record, Run, distinct, provenance, require_complete, spread
from benchmarks.pages.paired_difference import WITHIN_NOISE, paired_difference
from benchmarks.pages.table_parts import table

CLEAN = "clean"
PLAIN = "plain"
CLEAN_LEARNING = "CleanLearning"
AUTO = "auto"
METHODS = {
    PLAIN: "plain",
    CLEAN_LEARNING: "CleanLearning",
    AUTO: "RRM, auto",
    "told": "RRM, true C",
    "auto, by the loss": "RRM, auto, by the loss",
}
LISTS = (CLEAN_LEARNING, AUTO, "told", "auto, by the loss")


def tabular_accuracy(record: Record) -> str:
    """Return the tables of test accuracy: by noise and estimator over all tables, and by table with clean labels."""
    require_complete(record)
    rows: dict[str, Iterable[str]] = {}
    for kind, runs in by_noise(record).items():
        for estimator, of_estimator in by_setting(runs, "estimator").items():
            cells = [_mean(_values(of_estimator, method, "accuracy")) for method in METHODS]
            rows[f"{kind}: {estimator}"] = [*cells, _difference(of_estimator, AUTO, CLEAN_LEARNING)]
    head = [*METHODS.values(), "RRM, auto − CleanLearning"]
    note = (
        f"Means over {len(distinct(record, 'data'))} tables and {_n_seeds(record)} seeds. C: the true share of wrong "
        f"labels. Difference: the mean over tables and seeds, with its standard error; {WITHIN_NOISE} if it is at most "
        f"two of them. {_failures(record)}{_packages(record)}."
    )
    return "\n\n".join([table("test accuracy, %", head, rows), f"{note} {provenance(record)}"])


def tabular_clean(record: Record) -> str:
    """Return the table of what RRM and CleanLearning gain or lose on clean labels, by table and estimator."""
    require_complete(record)
    rows: dict[str, Iterable[str]] = {}
    clean = [run for run in record["runs"] if run["settings"]["noise"] == CLEAN]
    for method in (AUTO, CLEAN_LEARNING):
        for name, runs in by_setting(clean, "data").items():
            by_estimator = by_setting(runs, "estimator")
            rows[f"{METHODS[method]}: {name}"] = [
                _difference(of_estimator, method, PLAIN) for of_estimator in by_estimator.values()
            ]
    head = list(by_setting(clean, "estimator"))
    note = "Test accuracy less that of the estimator by itself, in points, by seed, with its standard error."
    return "\n\n".join([table("difference from plain, clean labels", head, rows), note])


def tabular_estimates(record: Record) -> str:
    """Return the table of the errors of the estimates, and a sentence about all of them."""
    require_complete(record)
    rows: dict[str, Iterable[str]] = {}
    for kind, runs in by_noise(record).items():
        by_estimator = by_setting(runs, "estimator")
        rows[kind] = [
            _mean([run["result"]["true_share"] for run in runs]),
            *(_mean(_errors(of_estimator, AUTO), "+") for of_estimator in by_estimator.values()),
            _mean(_errors(runs, AUTO), "+"),
            _holding(runs),
            _mean(_errors(runs, CLEAN_LEARNING), "+"),
        ]
    estimators = distinct(record, "estimator")
    head = ["true share", *estimators, "RRM, all", "intervals that hold it", "CleanLearning"]
    runs = record["runs"]
    sentence = (
        f"All {len(runs)} estimates of RRM: the bias is {_mean(_errors(runs, AUTO), '+')} points, the mean absolute "
        f"error {_mean(map(abs, _errors(runs, AUTO)))}, and the largest {_largest_error(runs)}. Of CleanLearning the "
        f"bias is {_mean(_errors(runs, CLEAN_LEARNING), '+')} points, the mean absolute error "
        f"{_mean(map(abs, _errors(runs, CLEAN_LEARNING)))}."
    )
    note = (
        "Bias: the mean of estimate less true share, in points. CleanLearning: the share of its confident joint off "
        "the diagonal."
    )
    return "\n\n".join([table("bias of the estimate", head, rows), sentence, note])


def tabular_lists(record: Record) -> str:
    """Return the table of precision and recall of the labels that each method lists as wrong."""
    require_complete(record)
    rows: dict[str, Iterable[str]] = {}
    for kind, runs in by_noise(record).items():
        if kind == CLEAN:
            continue
        rows[kind] = [
            ", ".join(_mean(_values(runs, method, "listing", metric)) for metric in ("precision", "recall"))
            for method in LISTS
        ]
    head = [METHODS[method] for method in LISTS]
    note = "Means over tables, estimators and seeds. Of the labels that a method lists, and RRM prunes last."
    return "\n\n".join([table("precision, recall, %", head, rows), note])


def by_noise(record: Record) -> dict[str, list[Run]]:
    """Return the runs by noise in words, in the experiment's order; the asymmetric kinds together."""
    groups: dict[str, list[Run]] = {}
    for run in record["runs"]:
        kind, _, rate = run["settings"]["noise"].partition(" ")
        title = "one class for another"
        if kind == CLEAN:
            title = CLEAN
        elif kind == "symmetric":
            title = f"symmetric, {100 * float(rate):g} %"
        groups.setdefault(title, []).append(run)
    return groups


def by_setting(runs: Iterable[Run], name: str) -> dict[str, list[Run]]:
    """Return the runs by the value of a setting, in the experiment's order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run["settings"][name], []).append(run)
    return groups


def _value(run: Run, method: str, *path: str) -> Any:
    value: Any = run["result"]["methods"][method]
    for name in path:
        value = None if value is None else value[name]
    return value


def _values(runs: Iterable[Run], method: str, *path: str) -> list[float]:
    """Return a number of the results of a method, where there is one."""
    values = [_value(run, method, *path) for run in runs]
    return [value for value in values if value is not None]


def _errors(runs: Iterable[Run], method: str) -> list[float]:
    """Return the estimates of a method less the true shares."""
    pairs = [(_value(run, method, "estimate"), run["result"]["true_share"]) for run in runs]
    return [estimate - true_share for estimate, true_share in pairs if estimate is not None]


def _largest_error(runs: Sequence[Run]) -> str:
    worst = max(runs, key=lambda run: abs(_value(run, AUTO, "estimate") - run["result"]["true_share"]))
    error = abs(_value(worst, AUTO, "estimate") - worst["result"]["true_share"])
    return f"{100 * error:.1f} ({worst['method']})"


def _holding(runs: Sequence[Run]) -> str:
    """Return how many intervals of RRM hold the true share."""
    intervals = [(_value(run, AUTO, "interval"), run["result"]["true_share"]) for run in runs]
    n_holding = sum(interval is not None and interval[0] <= share <= interval[1] for interval, share in intervals)
    return f"{n_holding} of {len(runs)}"


def _difference(runs: Sequence[Run], method: str, other: str) -> str:
    """Return the paired difference of the accuracies of two methods, where both have one."""
    pairs = [(_value(run, method, "accuracy"), _value(run, other, "accuracy")) for run in runs]
    both = [pair for pair in pairs if None not in pair]
    if not both:
        return MISSING
    return paired_difference([value for value, _ in both], [value for _, value in both]).cell


def _failures(record: Record) -> str:
    """Return in words how often CleanLearning failed, of which the means are without these runs; empty if never."""
    failed = [run for run in record["runs"] if _value(run, CLEAN_LEARNING, "accuracy") is None]
    if not failed:
        return ""
    return (
        f"CleanLearning fails in {len(failed)} of {len(record['runs'])} runs, such as in {failed[0]['method']}; its "
        "means are without them. "
    )


def _packages(record: Record) -> str:
    """Return the versions of the estimators' packages."""
    versions = {run["settings"]["estimator"]: run["result"]["package"] for run in record["runs"]}
    return ", ".join(f"{estimator} of version {version}" for estimator, version in versions.items())


def _n_seeds(record: Record) -> int:
    return len({run["seed"] for run in record["runs"]})


def _mean(values: Iterable[float], sign: str = "") -> str:
    """Return the mean in percent, and a dash without values."""
    given = list(values)
    if not given:
        return MISSING
    return spread([statistics.mean(given)], sign=sign)
