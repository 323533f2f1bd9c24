"""The figure of DivideMix, ProMix and CC with and without RRM."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmarks.pages.experiment_record import Record, distinct, methods, select
from benchmarks.pages.figure_parts import CURVES, MORE_COLOURS, finish, plot_lines, zoom


def systems(record: Record) -> Figure:
    """Plot by epoch: test accuracy, wrong labels in the labelled sets, RRM's precision there; a row for each kind."""
    kinds = distinct(record, "noise")
    parts = {
        "accuracy": "test accuracy",
        "wrong_labelled": "wrong among labels used",
        "precision": "pruned that are wrong",
    }
    figure = Figure(figsize=(4.4 * len(parts), 3.6 * len(kinds) + 0.6), layout="constrained")
    panels = figure.subplots(len(kinds), len(parts), squeeze=False)
    for row, kind in zip(panels, kinds, strict=True):
        for k, method in enumerate(methods(record, noise=kind)):
            style: dict[str, Any] = {"color": MORE_COLOURS[k], "label": method}
            for axes, (name, title) in zip(row, parts.items(), strict=True):
                lines = [_percentages(run, name) for run in select(record, method, noise=kind)]
                if not np.isnan(lines).all():
                    plot_lines(axes, range(1, len(lines[0]) + 1), lines, **style)
                axes.set(title=f"{kind}: {title}", xlabel="epoch", ylabel="%")
        zoom([row[0]], [run for run in record["runs"] if run["settings"]["noise"] == kind], skipped=15)
    return finish(figure, panels.ravel(), record, shared_legend=True, subtitle=CURVES)


def _percentages(run: dict[str, Any], name: str) -> npt.NDArray[np.float64]:
    """Return a curve in percent; NaN where there is no value, or no such curve."""
    epochs = run["result"]["epochs"]
    curve = epochs.get(name, [None] * len(epochs["accuracy"]))
    return np.array([np.nan if value is None else 100 * value for value in curve])
