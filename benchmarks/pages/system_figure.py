"""The figure of DivideMix, ProMix and CC with and without RRM."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmarks.pages.experiment_record import Record, distinct, methods, select
from benchmarks.pages.figure_parts import COLOURS, CURVES, finish, plot_lines, zoom
from benchmarks.pages.system_tables import plain_method

LINES = ("-", "--", ":")


def systems(record: Record) -> Figure:
    """Plot by epoch: test accuracy, wrong labels in the labelled sets, RRM's precision there; a row for each kind."""
    kinds = distinct(record, "noise")
    parts = {
        "accuracy": "test accuracy",
        "wrong_labelled": "wrong among labels used",
        "precision": "wrong among labels pruned",
    }
    figure = Figure(figsize=(4.4 * len(parts), 3.6 * len(kinds) + 0.6), layout="constrained")
    panels = figure.subplots(len(kinds), len(parts), squeeze=False)
    for row, kind in zip(panels, kinds, strict=True):
        for method, style in _styles(methods(record, noise=kind)).items():
            for axes, (name, title) in zip(row, parts.items(), strict=True):
                lines = [_percentages(run, name) for run in select(record, method, noise=kind)]
                if not np.isnan(lines).all():
                    plot_lines(axes, range(1, len(lines[0]) + 1), lines, **style)
                axes.set(title=f"{kind}: {title}", xlabel="epoch", ylabel="%")
        zoom([row[0]], [run for run in record["runs"] if run["settings"]["noise"] == kind], skipped=15)
    return finish(figure, panels.ravel(), record, shared_legend=True, subtitle=CURVES)


def _styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return how to plot each method: a colour for each system, a kind of line for each way to use RRM with it."""
    families: dict[str, list[str]] = {}
    for method in names:
        families.setdefault(plain_method(method) or method, []).append(method)
    return {
        method: {"color": colour, "linestyle": line, "label": method}
        for family, colour in zip(families.values(), cycle(COLOURS), strict=False)
        for method, line in zip(family, cycle(LINES), strict=False)
    }


def _percentages(run: dict[str, Any], name: str) -> npt.NDArray[np.float64]:
    """Return a curve in percent; NaN where there is no value, or no such curve."""
    epochs = run["result"]["epochs"]
    curve = epochs.get(name, [None] * len(epochs["accuracy"]))
    return np.array([np.nan if value is None else 100 * value for value in curve])
