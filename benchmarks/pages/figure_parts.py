"""Parts of the figures of recorded runs: curves by epoch, their colours, grids, titles and legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmarks.pages.experiment_record import Record, seeds

COLOURS = ("tab:gray", "tab:blue", "tab:orange", "tab:green", "tab:purple", "tab:brown", "tab:red", "tab:pink")
CURVES = "curves are means over the seeds, and thinly each seed"


def plot_accuracies(axes: Any, runs: Sequence[dict[str, Any]], **style: Any) -> None:
    """Plot test accuracy by epoch, in percent; see `plot_lines`."""
    lines = [[100 * share for share in run["result"]["epochs"]["accuracy"]] for run in runs]
    plot_lines(axes, range(1, len(lines[0]) + 1), lines, **style)


def zoom(panels: Iterable[Any], runs: Sequence[dict[str, Any]], skipped: int = 5) -> None:
    """Set the same range of accuracies in all panels, ignoring the steep rise of the first epochs."""
    curves = [run["result"]["epochs"]["accuracy"] for run in runs]
    shares = [100 * share for curve in curves for share in (curve[skipped:] or curve)]
    for axes in panels:
        axes.set_ylim(min(shares) - 1, max(shares) + 1)


def plot_lines(axes: Any, x: Iterable[int], lines: Any, color: str, **style: Any) -> None:
    """Plot the mean over the seeds, and each seed with a thin line."""
    values = np.array(lines)
    if len(values) > 1:
        axes.plot(x, values.T, color=color, alpha=0.3, linewidth=0.7)
    axes.plot(x, values.mean(axis=0), color=color, **style)


def deviation(values: npt.NDArray[Any]) -> Any:
    """Return the sample standard deviation over the seeds; None for a single seed."""
    return values.std(axis=0, ddof=1) if len(values) > 1 else None


def finish(
    figure: Figure, panels: Iterable[Any], record: Record, shared_legend: bool = False, subtitle: str = ""
) -> Figure:
    """Add grids, a title and, with `shared_legend`, one legend below all panels; return the figure."""
    panels = list(panels)
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    if shared_legend:
        # A method may be missing in some panels.
        by_name = {name: line for axes in panels for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
        names = list(by_name)
        columns = 3 if sum(map(len, names)) > 90 or len(names) > 5 else 5  # as many as fit in the width
        figure.legend(by_name.values(), names, loc="outside lower center", ncols=columns, fontsize=9)
    repetitions = seeds(record)
    if not subtitle or " over " not in repetitions:
        subtitle = repetitions
    figure.suptitle(f"{record['experiment']}: {subtitle}", fontsize=10)
    return figure
