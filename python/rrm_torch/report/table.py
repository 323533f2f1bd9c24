"""The results table of a comparison, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

import rrm_core
from rrm_core._learnt_estimate import NOTHING_LEARNT

from ..training.compare import Outcome, Trial


def mean_and_std(values: Sequence[float | None], scale: float = 100.0, digits: int = 1) -> str:
    """Format mean ± sample standard deviation of the values that are not None, ``"–"`` if there is none.

    Parameters
    ----------
    values : sequence of float or None
    scale : float, default 100
        Factor of the values; 100 gives per cent.
    digits : int, default 1
        Decimal places.
    """
    scaled = [scale * value for value in values if value is not None]
    if not scaled:
        return "–"
    mean = f"{np.mean(scaled):.{digits}f}"
    if len(scaled) == 1:
        return mean
    return f"{mean} ± {np.std(scaled, ddof=1):.{digits}f}"


def make_table(trials: Sequence[Trial], title: str) -> Table:
    """Return a table of plain training against RRM, with mean ± standard deviation over the seeds."""
    caption = f"mean ± standard deviation over {len(trials)} seeds"
    if len(trials) == 1:
        caption = "one seed"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("")
    for method in ("plain training", "RRM"):
        table.add_column(method, justify="right")
    plain = [trial.plain for trial in trials]
    weighted = [trial.weighted for trial in trials]
    _add_outcome_row(table, "test accuracy, %", plain, weighted, "accuracy")
    if plain[0].robust_accuracy is not None:
        _add_outcome_row(table, "the same under attack, %", plain, weighted, "robust_accuracy")
    wrong = [trial.wrong for trial in trials if trial.wrong is not None]
    if wrong:
        _add_outcome_row(table, "wrong labels memorised, %", plain, weighted, "memorised")
        noise_rate = mean_and_std([float(mask.mean()) for mask in wrong])
        table.add_row("labels made wrong, %", noise_rate, noise_rate)
    estimates = [_estimate(trial) for trial in trials]
    if any(estimates):
        shares = [None if estimate is None else estimate.contamination for estimate in estimates]
        table.add_row("labels estimated to be wrong, %", "", mean_and_std(shares))
        table.add_row("  interval, %", "", _mean_interval(estimates))
    table.add_row("flagged labels", "", mean_and_std([len(trial.rrm.flagged()) for trial in trials], 1.0, 0))
    if wrong:
        table.add_row("  of them wrong (precision), %", "", mean_and_std([trial.precision for trial in trials]))
        table.add_row("  of the wrong, found (recall), %", "", mean_and_std([trial.recall for trial in trials]))
    if trials[0].rrm.groups is not None:
        table.add_row("  largest share of a group, %", "", mean_and_std([_largest_share(trial) for trial in trials]))
    for activity in ("training", "scoring", "reweighting"):
        table.add_row(f"{activity}, s", _seconds(plain, activity), _seconds(weighted, activity))
    return table


def describe_estimate(trial: Trial) -> str:
    """Return what a line about a trial adds of its estimate; an empty string without one."""
    estimate = _estimate(trial)
    if estimate is None:
        return ""
    text = f", {estimate.contamination:.1%} of the labels estimated to be wrong"
    if estimate.interval is not None:
        text += " ({:.1%} to {:.1%})".format(*estimate.interval)
    return text


def _estimate(trial: Trial) -> rrm_core.ContaminationEstimate | None:
    """Return the estimate of a trial; None without one, or if its model had learnt nothing."""
    estimate = trial.rrm.estimate
    return None if estimate is None or estimate.basis == NOTHING_LEARNT else estimate


def _mean_interval(estimates: Sequence[rrm_core.ContaminationEstimate | None]) -> str:
    """Return the mean bounds of the intervals of some estimates, ``"–"`` if there are none."""
    intervals = [estimate.interval for estimate in estimates if estimate is not None and estimate.interval is not None]
    if not intervals:
        return "–"
    lower, upper = 100 * np.mean(intervals, axis=0)
    of_some = f" ({len(intervals)} of {len(estimates)} seeds)" if len(intervals) < len(estimates) else ""
    return f"{lower:.1f} to {upper:.1f}{of_some}"


def _add_outcome_row(
    table: Table, name: str, plain: Sequence[Outcome], weighted: Sequence[Outcome], attribute: str
) -> None:
    """Add a row with an attribute of the outcomes, in per cent."""
    cells = [mean_and_std([getattr(outcome, attribute) for outcome in outcomes]) for outcomes in (plain, weighted)]
    table.add_row(name, *cells)


def _largest_share(trial: Trial) -> float:
    """Return the largest share of a group that the last reweight pruned."""
    last = trial.rrm.trajectory.rounds[-1]
    counts = zip(last.n_pruned_by_group or (), last.n_planned_by_group or (), strict=True)
    return max(n_pruned / n_planned for n_pruned, n_planned in counts if n_planned)


def _seconds(outcomes: Sequence[Outcome], activity: str) -> str:
    return mean_and_std([getattr(outcome.seconds, activity) for outcome in outcomes], 1.0, 2)
