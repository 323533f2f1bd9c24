"""Figures of the experiments' records: docs/images/results_*.png, which render.py draws."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from benchmarks.pages import figure_sources
from benchmarks.pages.auto_tables import estimated_runs
from benchmarks.pages.experiment_record import (
    Record,
    digest,
    distinct,
    methods,
    require_complete,
    results,
    select,
)
from benchmarks.pages.experiment_tables import PUBLISHED, gains, grid, label_counts
from benchmarks.pages.figure_parts import COLOURS, CURVES, deviation, finish, plot_accuracies, plot_lines, zoom
from benchmarks.pages.meta_figure import meta
from benchmarks.pages.system_figure import systems
from benchmarks.pages.text_tables import METHODS as TEXT_METHODS
from benchmarks.pages.text_tables import rows_of
from rrm_core._atomic_write import atomic_write

BAND = 0.8  # height of the runs on a data set, whose distance is 1


def draw(name: str, record: Record, path: Path) -> None:
    """Draw a figure of a record, and store a hash of the record in the file."""
    require_complete(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = FIGURES[name](record)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={figure_sources.KEY: digest(record)})


def table6(record: Record) -> Figure:
    """Plot the number of labels pruned by each reweight and the last weights, of wrong and of clean labels."""
    figure = Figure(figsize=(11, 7.4), layout="constrained")
    panels = figure.subplots(2, 2)
    weighted = [method for method in methods(record) if results(record, method, "rounds")[0] is not None]
    n_wrong, n_clean = label_counts(record)
    for column, (group, n) in enumerate((("wrong", n_wrong), ("clean", n_clean))):
        by_round = panels[0, column]
        final = panels[1, column]
        for k, method in enumerate(weighted):
            colour = COLOURS[k + 1]
            style = {"color": COLOURS[k + 1], "label": method}
            lines = [_by_round(run["result"], f"{group}_pruned") * n for run in select(record, method)]
            plot_lines(by_round, range(1, len(lines[0]) + 1), lines, **style)
            counts = np.array([run["result"]["histogram"][group] for run in select(record, method)])
            places = np.arange(counts.shape[1]) + (k - (len(weighted) - 1) / 2) * 0.8 / len(weighted)
            final.bar(places, counts.mean(axis=0), 0.8 / len(weighted), yerr=deviation(counts), color=colour)
        by_round.set(title=f"{group} labels pruned, of {n:,}", xlabel="reweight", ylabel="labels")
        if group == "wrong":
            by_round.axhline(n, color="black", linestyle=":", linewidth=0.8)
        final.set(title=f"{group} labels by weight, at the end", xlabel="weight", ylabel="labels", yscale="log")
        final.set_ylim(0.5, None)
        final.set_xticks(range(counts.shape[1]), _intervals(), rotation=30, ha="right", fontsize=8)
    return finish(figure, panels.ravel(), record, shared_legend=True)


def adversarial(record: Record) -> Figure:
    """Plot the accuracy of AT and A-RRM against the size of the attack, a row of panels for each noise rate."""
    rates = distinct(record, "noise")
    figure = Figure(figsize=(10, 3.4 * len(rates) + 0.8), layout="constrained")
    panels = figure.subplots(len(rates), 2, sharey=True, squeeze=False)
    main = [method for method in methods(record) if method.startswith(("AT, ", "A-RRM, ")) and method.count(",") == 1]
    for row, rate in enumerate(rates):
        for axes, attack in zip(panels[row], ("fgsm", "pgd"), strict=True):
            for method in main:
                runs = [run["result"]["robust"][attack] for run in select(record, method, noise=rate)]
                eps = [float(size) for size in runs[0]]
                shares = np.array([[100 * share for share in by_eps.values()] for by_eps in runs])
                # AT is dashed; A-RRM trained against the same attack is solid, in the same colour.
                style = {"linestyle": "-" if "RRM" in method else "--", "label": method}
                style["color"] = COLOURS[2 if "PGD" in method else 1]
                axes.errorbar(eps, shares.mean(axis=0), deviation(shares), marker="o", ms=4, capsize=3, **style)
                axes.set_xticks(eps)
            axes.set(title=f"{100 * rate:g} % wrong labels, tested with {attack.upper()}")
            axes.set(xlabel="size of the attack, standardised pixels", ylabel="test accuracy, %")
    return finish(figure, panels.ravel(), record, shared_legend=True)


def cifar10n(record: Record) -> Figure:
    """Plot test accuracy by epoch, a panel for each set of labels."""
    return _accuracy_by_epoch(record, skipped=15)


def probe(record: Record) -> Figure:
    """Plot test accuracy by epoch, a panel for each set of labels; of cleanlab, that of the last model."""
    return _accuracy_by_epoch(record, skipped=0)


def _accuracy_by_epoch(record: Record, skipped: int) -> Figure:
    """Plot test accuracy by epoch; the range of accuracies is that after the skipped epochs."""
    kinds = distinct(record, "labels")
    figure = Figure(figsize=(4.2 * len(kinds), 4.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        for k, method in enumerate(methods(record, labels=kind)):
            plot_accuracies(axes, select(record, method, labels=kind), color=COLOURS[k], label=method)
        axes.set(title=f"labels: {kind}", xlabel="epoch", ylabel="test accuracy, %")
    zoom(panels, record["runs"], skipped)
    return finish(figure, panels, record, shared_legend=True, subtitle=CURVES)


def fashion(record: Record) -> Figure:
    """Plot test accuracy by epoch at the highest noise rate for each loss, and RRM's gain at all rates."""
    rates = distinct(record, "noise")
    joined = [method for method in methods(record) if " + " in method]
    losses = list(dict.fromkeys(method.partition(" + ")[0] for method in joined))
    figure = Figure(figsize=(13, 6.6), layout="constrained")
    names = [*losses, *[""] * (len(losses) % 2)]
    half = len(names) // 2
    places = [[*names[:half], "gain"], [*names[half:], "gain"]]
    panels: dict[str, Any] = figure.subplot_mosaic(places, width_ratios=[*[1] * half, 1.1], empty_sentinel="")
    for loss in losses:
        axes = panels[loss]
        rate = max(rates)
        for k, method in enumerate([loss, *(method for method in joined if method.partition(" + ")[0] == loss)]):
            # Where nothing is pruned, or nothing ties, the curves agree: each must be seen through the next.
            style = {"linewidth": 3 if k == 0 else 1.5, "linestyle": "--" if k == 2 else "-"}
            plot_accuracies(axes, select(record, method, noise=rate), color=COLOURS[k], label=method, **style)
        axes.set(title=f"{loss}, {100 * rate:g} % wrong labels", xlabel="epoch", ylabel="test accuracy, %")
        axes.legend(loc="best", fontsize=8)
    zoom([panels[loss] for loss in losses], [run for run in record["runs"] if run["settings"]["noise"] == max(rates)])
    _plot_gains(panels["gain"], record, joined, rates)
    return finish(figure, panels.values(), record, subtitle=CURVES)


def _plot_gains(axes: Any, record: Record, joined: Sequence[str], rates: Sequence[float]) -> None:
    """Plot RRM's gain of each method at each noise rate, and the paper's."""
    for k, method in enumerate(reversed(joined)):  # from the bottom up
        differences = 100 * np.array([gains(record, method.partition(" + ")[0], method, rate) for rate in rates]).T
        for i in range(len(rates)):
            place = k - (i - (len(rates) - 1) / 2) * 0.8 / len(rates)
            error = deviation(differences[:, i])
            label = f"{100 * rates[i]:g} % wrong labels" if k == 0 else None
            style = {"color": COLOURS[i + 1], "alpha": 0.8, "label": label, "capsize": 2}
            axes.barh(place, differences[:, i].mean(), 0.8 / len(rates), xerr=error, **style)
            without, with_it = PUBLISHED.get(method.partition(" + ")[0], {}).get(rates[i], (None, None))
            if with_it is not None and without is not None and "ties" not in method:
                axes.plot(with_it - without, place, "D", color="black", ms=5)
    axes.plot([], [], "D", color="black", ms=5, label="the paper, on CIFAR-10")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(joined)), [method.replace(", ", ",\n") for method in reversed(joined)], fontsize=9)
    axes.set(title="gain of RRM, ± standard deviation", xlabel="points of test accuracy")
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.09))


def ablation(record: Record) -> Figure:
    """Plot test accuracy by rule to redistribute, augmentation and scale."""
    rules, titles = grid(record)
    figure = Figure(figsize=(9.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for k, rule in enumerate(rules):
        shares = 100 * np.array([results(record, f"{rule}, {where}", "accuracy") for where in titles]).T
        at = np.arange(len(titles)) + (k - (len(rules) - 1) / 2) * 0.8 / len(rules)
        style = {"color": COLOURS[k], "label": "plain training" if rule == "plain" else rule, "capsize": 2}
        axes.bar(at, shares.mean(axis=0), 0.8 / len(rules), yerr=deviation(shares), **style)
    names = [where.replace(", ", ",\n").replace(" augmentation", "\naugmentation") for where in titles.values()]
    axes.set_xticks(range(len(titles)), names)
    axes.set(title="redistribute: who receives the mass", ylabel="test accuracy, %", ylim=(0, 100))
    return finish(figure, [axes], record, shared_legend=True)


def auto(record: Record) -> Figure:
    """Plot the estimate of each run with its interval, in a band for each data set, beside the true share."""
    bands = estimated_runs(record)
    figure = Figure(figsize=(9.5, 2.2 + 0.6 * len(bands)), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(distinct(record, "data"), COLOURS[1:], strict=False))
    for band, runs in enumerate(bands.values()):
        places = band + BAND * ((np.arange(len(runs)) + 0.5) / len(runs) - 0.5)
        height = BAND / len(runs)
        shares = 100 * np.array([run["result"]["true_share"] for run in runs])
        axes.vlines(shares, places - height / 2, places + height / 2, color="black", linewidth=2, zorder=1)
        for place, run in zip(places, runs, strict=True):
            _plot_estimate(axes, place, run["result"]["estimate"], colours[run["settings"]["data"]])
    axes.plot([], [], color="black", linewidth=2, label="true share")
    axes.plot([], [], "o-", color="gray", markersize=5, label="estimate and interval")
    if any(run["result"]["estimate"]["interval"] is None for runs in bands.values() for run in runs):
        axes.plot([], [], "o", color="gray", markerfacecolor="none", markersize=5, label="estimate without an interval")
    axes.set_yticks(range(len(bands)), bands)
    axes.invert_yaxis()
    axes.set(xlabel="wrong labels, %", xlim=(-1, None))
    return finish(figure, [axes], record, shared_legend=True, subtitle="the estimate of each run")


def _plot_estimate(axes: Any, place: float, estimate: dict[str, Any], colour: str) -> None:
    """Plot an estimate with its interval, or as a hollow point if there is none."""
    share = 100 * estimate["contamination"]
    if estimate["interval"] is None:
        axes.plot(share, place, "o", color=colour, markerfacecolor="none", markersize=4)
        return
    low, high = (100 * bound for bound in estimate["interval"])
    axes.errorbar(share, place, xerr=[[share - low], [high - share]], fmt="o", color=colour, markersize=4, linewidth=1)


def text(record: Record) -> Figure:
    """Plot test accuracy by epoch, in a panel for each data set and noise."""
    rows = rows_of(record)
    colours = dict(zip(TEXT_METHODS, COLOURS, strict=False))
    n_lines = math.ceil(len(rows) / 3)
    figure = Figure(figsize=(13, 1 + 3.2 * n_lines), layout="constrained")
    panels = list(figure.subplots(n_lines, 3, squeeze=False).flat)
    for axes in panels[len(rows) :]:
        axes.remove()
    panels = panels[: len(rows)]
    for axes, (title, by_name) in zip(panels, rows.items(), strict=True):
        for method, runs in by_name.items():
            plot_accuracies(axes, runs, color=colours[method], label=TEXT_METHODS[method])
        axes.set(title=title, xlabel="epoch", ylabel="test accuracy, %")
    return finish(figure, panels, record, shared_legend=True, subtitle=CURVES)


FIGURES = {
    f"results_{figure.__name__}": figure
    for figure in (table6, adversarial, cifar10n, probe, fashion, ablation, auto, meta, systems, text)
}


def _by_round(result: dict[str, Any], share: str) -> npt.NDArray[np.float64]:
    """Return a share recorded by epoch at the epochs of the reweights."""
    return np.array([result["epochs"][share][epoch - 1] for epoch in result["rounds"]["epoch"]])


def _intervals() -> list[str]:
    from rrm_torch.training.history import WEIGHT_EDGES  # imports torch, which the other figures do without

    edges = [f"{edge:g}" for edge in WEIGHT_EDGES]
    return [
        f"≥ {edges[i]}" if edges[i + 1] == "inf" else f"{edges[i]} to {edges[i + 1]}" for i in range(len(edges) - 1)
    ]
