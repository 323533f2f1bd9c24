"""The figure of Meta-Weight-Net and Ren et al., which have clean samples, beside RRM, which has none."""

from __future__ import annotations

from matplotlib.figure import Figure

from benchmarks.pages.auto_tables import by_method
from benchmarks.pages.data_sets import by_data_set
from benchmarks.pages.experiment_record import Record
from benchmarks.pages.figure_parts import COLOURS, CURVES, finish, plot_accuracies, zoom

DASHED = 1000
"""The number of clean samples whose curves are dashed, to be told from those with fewer in the same colour."""


def meta(record: Record) -> Figure:
    """Plot test accuracy by epoch, in a panel for each kind of noise."""
    runs_by_noise = by_data_set(record)
    figure = Figure(figsize=(4.2 * len(runs_by_noise), 4.6), layout="constrained")
    panels = figure.subplots(1, len(runs_by_noise), sharey=True, squeeze=False)[0]
    colours: dict[str, str] = {}
    for axes, (title, runs) in zip(panels, runs_by_noise.items(), strict=True):
        for label, own in by_method(runs).items():
            n_clean = own[0]["settings"]["n_clean"]
            method = label.removesuffix(f", {n_clean}")
            colour = colours.setdefault(method, COLOURS[len(colours)])
            line = "--" if n_clean == DASHED else "-"
            plot_accuracies(axes, own, color=colour, linestyle=line, label=label)
        axes.set(title=title, xlabel="epoch", ylabel="test accuracy, %")
    zoom(panels, record["runs"], skipped=1)
    return finish(figure, panels, record, shared_legend=True, subtitle=CURVES)
