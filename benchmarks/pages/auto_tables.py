"""Tables of the experiment on the estimated contamination, in Markdown: a pure function for each block on a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.pages.data_sets import by_data_set
from benchmarks.pages.experiment_record import MISSING, Record, Run, metrics, provenance, require_complete, spread
from benchmarks.pages.paired_difference import NOTE, WITHIN_NOISE, PairedDifference, paired_difference
from benchmarks.pages.table_parts import table

PLAIN = "plain"
AUTO = "auto"
TRUE = "true"
METHODS = {
    PLAIN: "plain training",
    AUTO: "auto",
    TRUE: "true C",
    "true, warm-up 10": "true C, warm-up 10",
    "half": "half of C",
    "double": "twice C",
}
EPOCHS = {"accuracy": "last epoch", "best_accuracy": "best epoch"}
LARGE_ERROR = 0.1


def auto_estimates(record: Record) -> str:
    """Return the table of estimates and their intervals, and a sentence about all runs."""
    return _estimates(record, {})


def auto_large_estimates(record: Record) -> str:
    """Return the table of `auto_estimates`, with the test accuracy, for the experiment on many images."""
    return _estimates(record, {f"accuracy, {epoch}": metric for metric, epoch in EPOCHS.items()})


def auto_accuracy(record: Record) -> str:
    """Return the tables of test accuracy by method, each with a sentence about the difference of auto and true C."""
    require_complete(record)
    rows = {title: by_method(runs) for title, runs in by_data_set(record).items()}
    parts = []
    for metric, epoch in EPOCHS.items():
        head = [*METHODS.values(), "auto − true C"]
        cells = {title: _accuracy_cells(methods, metric) for title, methods in rows.items()}
        differences = {title: difference(methods, metric) for title, methods in rows.items()}
        parts += [
            table(f"test accuracy, {epoch}, %", head, cells),
            f"{epoch.capitalize()}, {len(rows)} rows: {_verdict(differences)}",
        ]
    note = (
        "C: the true share of wrong labels. The warm-up ends by itself, except after 10 epochs where this is stated. "
        f"Auto − true C: {NOTE} On clean labels the true C is 0, that is plain training, which "
        "auto is compared with. The best epoch cannot be chosen without clean labels."
    )
    return "\n\n".join([*parts, f"{note} {provenance(record)}"])


def estimated_runs(record: Record) -> dict[str, list[Run]]:
    """Return the runs that estimated the contamination, by the title of their data set and noise, and by seed."""
    return {title: by_method(runs)[AUTO] for title, runs in by_data_set(record).items()}


def by_method(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Return the runs on one data set by the name of their method without that of the data set, and by seed."""
    methods: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run["seed"]):
        methods.setdefault(run["method"].rpartition(": ")[2], []).append(run)
    return methods


def difference(methods: Mapping[str, Sequence[Run]], metric: str) -> PairedDifference:
    """Return the accuracy of auto less that of the true contamination, or of plain training, which is that of 0."""
    reference = TRUE if TRUE in methods else PLAIN
    return paired_difference(metrics(methods[AUTO], metric), metrics(methods[reference], metric))


def error(run: Run) -> float:
    """Return the estimate less the true share."""
    return float(run["result"]["estimate"]["contamination"] - run["result"]["true_share"])


def _estimates(record: Record, further: Mapping[str, str]) -> str:
    """Return the table of estimates with further columns, whose titles and metrics are given, and two sentences."""
    require_complete(record)
    head = ["true share", "estimate", "bias", "intervals that hold it", "mean width", "warm-up ended after epoch"]
    estimated = estimated_runs(record)
    cells = {
        title: [*_estimate_cells(runs), *(spread(metrics(runs, metric)) for metric in further.values())]
        for title, runs in estimated.items()
    }
    note = (
        'Estimate: by `contamination="auto"`. Bias: the mean of estimate less true share, in points, as is the width '
        "of the intervals."
    )
    return "\n\n".join(
        [table("wrong labels, %", [*head, *further], cells), _about_all(estimated), f"{note} {provenance(record)}"]
    )


def _estimate_cells(runs: Sequence[Run]) -> list[str]:
    estimates = [run["result"]["estimate"] for run in runs]
    n_without = sum(estimate["interval"] is None for estimate in estimates)
    held = f"{sum(map(_holds, runs))} of {len(runs)}"
    if n_without:
        held += f", {n_without} without"
    epochs = runs[0]["settings"]["recipe"]["epochs"]
    return [
        _mean(run["result"]["true_share"] for run in runs),
        spread(estimate["contamination"] for estimate in estimates),
        _mean(map(error, runs), sign="+"),
        held,
        _mean(_widths(runs)),
        f"{spread((estimate['epoch'] for estimate in estimates), 1.0)} of {epochs}",
    ]


def _about_all(estimated: Mapping[str, Sequence[Run]]) -> str:
    """Return in words the errors and intervals of all runs."""
    runs = [run for group in estimated.values() for run in group]
    errors = {title: max(abs(error(run)) for run in group) for title, group in estimated.items()}
    worst = max(errors, key=errors.__getitem__)
    widths = _widths(runs)
    n_accurate = sum(abs(error(run)) <= LARGE_ERROR for run in runs)
    without = ""
    if len(widths) < len(runs):
        without = f"; there is none in {len(runs) - len(widths)}, where the model was still learning"
    return (
        f"All {len(runs)} runs: the mean absolute error is {_mean(abs(error(run)) for run in runs)} points, and the "
        f"largest {100 * errors[worst]:.1f} ({worst}). In {n_accurate} runs it is at most {100 * LARGE_ERROR:g} "
        f"points. The interval holds the true share in {sum(map(_holds, runs))} runs{without}. The mean width is "
        f"{_mean(widths)} points."
    )


def _holds(run: Run) -> bool:
    """Return whether there is an interval, and it holds the true share."""
    interval = run["result"]["estimate"]["interval"]
    return interval is not None and interval[0] <= run["result"]["true_share"] <= interval[1]


def _widths(runs: Iterable[Run]) -> list[float]:
    intervals = [run["result"]["estimate"]["interval"] for run in runs]
    return [interval[1] - interval[0] for interval in intervals if interval is not None]


def _accuracy_cells(methods: Mapping[str, Sequence[Run]], metric: str) -> list[str]:
    cells = [spread(metrics(methods.get(name, ()), metric)) for name in METHODS]
    return [*cells, difference(methods, metric).cell]


def _verdict(differences: Mapping[str, PairedDifference]) -> str:
    """Return in words where auto is worse and better than the true contamination, the worse ones first."""
    if any(found.standard_error is None for found in differences.values()):
        return "one seed has no standard error."
    notable = {title: found for title, found in differences.items() if not found.is_within_noise}
    worse = {title: found for title, found in notable.items() if found.mean < 0}
    better = {title: found for title, found in notable.items() if found.mean > 0}
    return (
        f"auto is worse than the true C by more than two standard errors in {_listed(worse)}, better in "
        f"{_listed(better)}, and {WITHIN_NOISE} in {len(differences) - len(notable)}."
    )


def _listed(differences: Mapping[str, PairedDifference]) -> str:
    """Return the number of rows, and each with its difference."""
    if not differences:
        return "0"
    rows = "; ".join(f"{title}: {found.points}" for title, found in differences.items())
    return f"{len(differences)} ({rows})"


def _mean(shares: Iterable[float], sign: str = "") -> str:
    """Return the mean in percent, and a dash without values."""
    values = list(shares)
    if not values:
        return MISSING
    return spread([statistics.mean(values)], sign=sign)
