"""Figures of a report. Importing this module imports Matplotlib, but not pyplot, and needs no display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from torch import Tensor

from ..data.images import ImageData
from ..training.compare import Trial
from ..weighting.rrm import RRM

COLOURS = {"plain": "tab:gray", "RRM": "tab:blue", "clean": "tab:blue", "wrong": "tab:red", "all": "tab:blue"}
# Gamma is drawn over the threshold, because the two lines often coincide.
THRESHOLD_STYLE: dict[str, Any] = {"color": "tab:gray", "linewidth": 3, "alpha": 0.6}
GAMMA_STYLE: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.2}


def curves(trials: Sequence[Trial]) -> Figure:
    """Plot test accuracy and training loss by epoch: each seed as a thin line, and the mean over the seeds."""
    figure, (accuracy, loss) = _row(2)
    for name, outcomes in (("plain", [t.plain for t in trials]), ("RRM", [t.weighted for t in trials])):
        for axes, attribute, scale in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
            lines = np.array([[scale * getattr(e, attribute) for e in o.history.epochs] for o in outcomes])
            epochs = np.arange(1, lines.shape[1] + 1)
            axes.plot(epochs, lines.T, color=COLOURS[name], alpha=0.25, linewidth=0.8)
            axes.plot(epochs, lines.mean(axis=0), color=COLOURS[name], label=name)
    for axes, title in ((accuracy, "test accuracy, %"), (loss, "training loss, with the noisy labels")):
        axes.axvline(
            trials[0].rrm.trajectory.rounds[0].epoch,
            color="black",
            linestyle=":",
            linewidth=0.8,
            label="first reweight",
        )
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
    accuracy.legend(loc="best")
    return figure


def weights(trial: Trial) -> Figure:
    """Plot the mean weight of clean and of wrong labels by epoch, and the histogram of their final weights."""
    figure, (by_epoch, final) = _row(2)
    history = trial.weighted.history
    groups = history.members(trial.rrm.n)
    epochs = [e.epoch for e in history.epochs]
    final_weights = trial.rrm.weights.numpy()
    bins = list(np.linspace(0, max(float(final_weights.max()), 1.0) * 1.02, 31))
    for name, mask in groups.items():
        means = [e.groups[name].mean_weight for e in history.epochs]
        by_epoch.plot(epochs, means, color=COLOURS[name], label=f"{name} labels")
        # Overlaid, because the heights of stacked bars are misleading on a logarithmic scale.
        final.hist(final_weights[mask], bins, color=COLOURS[name], alpha=0.6, label=f"{name} labels")
    by_epoch.set(xlabel="epoch", title="mean weight", ylim=(-0.05, None))
    final.set(xlabel="weight", title="samples by final weight", yscale="log", ylim=(0.5, None))
    for axes in (by_epoch, final):
        axes.legend(loc="best")
        axes.grid(alpha=0.3)
    return figure


def suspicious(data: ImageData, trial: Trial, rows: int = 3, columns: int = 8) -> Figure:
    """Plot the most suspicious training images with index, label, predicted label and its probability.

    The index is that of the column ``index`` in flagged.csv, or of ``id`` after corrections.
    """
    indices = trial.rrm.flagged()[: rows * columns].numpy()
    predicted = trial.probabilities.argmax(1)
    confidence = trial.probabilities.max(1)
    figure = Figure(figsize=(1.35 * columns, 2.05 * rows + 0.5), layout="constrained")
    title = "Most suspicious samples: index and label; below them the predicted label and its probability"
    if trial.wrong is not None:
        title += " (red: the label is correct)"
    figure.suptitle(title, fontsize=11)
    for position, (index, image) in enumerate(zip(indices.tolist(), data.pictures(indices), strict=True)):
        axes = figure.add_subplot(rows, columns, position + 1)
        axes.imshow(image, cmap="gray_r" if image.ndim == 2 else None, vmin=0, vmax=1)
        axes.set_axis_off()
        label = _truncate(data.classes[trial.labels[index]])
        prediction = _truncate(data.classes[predicted[index]])
        colour = "black"
        if trial.wrong is not None and not trial.wrong[index]:
            colour = "tab:red"
        number = index if data.ids is None else data.ids[index]
        text = f"{number}: {label}\n→ {prediction} {100 * confidence[index]:.0f} %"
        axes.set_title(text, fontsize=9, color=colour, parse_math=False)
    return figure


def trajectory(rrm: RRM, wrong: npt.NDArray[np.bool_] | Tensor | None = None, max_samples: int = 200) -> Figure:
    """Plot the pruning history of an RRM: what each reweight pruned, its threshold, and how single samples changed.

    Parameters
    ----------
    rrm : RRM
        After its first reweight.
    wrong : bool array of shape (n,), optional
        Which labels are wrong, if known.
    max_samples : int, default 200
        Largest number of single samples to show.

    Returns
    -------
    Figure
        On the left, by reweight: the share pruned; threshold and gamma, unless each batch has its own; the numbers of
        samples that entered, left and returned, and the overlap with the previous reweight; the effective sample size.
        On the right, samples that some reweights pruned and others didn't, those that changed most often at the top;
        separately for clean and wrong labels if these are known.

    Raises
    ------
    ValueError
        There was no reweight yet, or `wrong` has another length.
    """
    rounds = rrm.trajectory.rounds
    pruned = rrm.trajectory.pruned().numpy()
    if not rounds:
        raise ValueError("rrm has no pruning history before its first reweight")
    groups = _groups(rrm.n, wrong)
    columns: dict[str, list[Any]] = {name: [getattr(entry, name) for entry in rounds] for name in vars(rounds[0])}
    epochs = columns["epoch"]
    thresholds = _finite_or_nan(columns["threshold"])
    has_thresholds = not np.isnan(thresholds).all()

    figure = Figure(figsize=(14.5, 7.2), layout="constrained")
    left = [["share", "threshold" if has_thresholds else "share"], ["changes", "size"]]
    right = [next(iter(groups)), list(groups)[-1]]
    panels: dict[str, Any] = figure.subplot_mosaic([[*left[i], right[i]] for i in range(2)], width_ratios=[1, 1, 1.2])
    _plot_share(panels["share"], epochs, pruned, groups)
    if has_thresholds:
        _plot_threshold(panels["threshold"], epochs, thresholds, _finite_or_nan(columns["gamma"]))
    _plot_changes(panels["changes"], columns)
    _plot_size(panels["size"], epochs, columns["effective_sample_size"], rrm.n)
    half_interval = 0.5
    if len(epochs) > 1:
        half_interval = (epochs[1] - epochs[0]) / 2
    for name, axes in panels.items():
        axes.set(xlabel=rrm.unit, xlim=(epochs[0] - half_interval, epochs[-1] + half_interval))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if name in groups:
            _plot_samples(axes, pruned[:, groups[name]], name, max_samples // len(groups))
        else:
            axes.grid(alpha=0.3)
    reweights = "1 reweight" if len(rounds) == 1 else f"{len(rounds):,} reweights"
    figure.suptitle(f"{reweights} of {rrm.n:,} samples")
    return figure


def _groups(n: int, wrong: npt.NDArray[np.bool_] | Tensor | None) -> dict[str, npt.NDArray[np.bool_]]:
    """Return masks of the wrong and the clean labels, or of all samples if the wrong labels are unknown."""
    if wrong is None:
        return {"all": np.ones(n, dtype=bool)}
    if isinstance(wrong, Tensor):
        wrong = wrong.cpu().numpy()
    mask = np.asarray(wrong, dtype=bool)
    if mask.shape != (n,):
        raise ValueError(f"wrong must have shape ({n},), one per sample, got {mask.shape}")
    masks = {"wrong": mask, "clean": ~mask}
    return {name: members for name, members in masks.items() if members.any()}


def _finite_or_nan(values: Sequence[float | None]) -> list[float]:
    """Replace None and infinities by NaN, which is not drawn."""
    return [np.nan if value is None or not np.isfinite(value) else value for value in values]


def _plot(axes: Any, epochs: list[int], values: Sequence[float], **style: Any) -> Any:
    """Draw a line by reweight, with markers if there are too few points for a visible line."""
    marker = "." if len(epochs) < 8 else None
    return axes.plot(epochs, values, marker=marker, **style)[0]


def _plot_share(
    axes: Any, epochs: list[int], pruned: npt.NDArray[np.bool_], groups: dict[str, npt.NDArray[np.bool_]]
) -> None:
    for name, members in groups.items():
        shares = [100 * np.count_nonzero(row & members) / np.count_nonzero(members) for row in pruned]
        _plot(axes, epochs, shares, color=COLOURS[name], label=f"{name} labels")
    axes.set(title="pruned", ylabel="% of these labels", ylim=(0, None) if "all" in groups else (-2, 102))
    axes.legend(loc="best", fontsize=9)


def _plot_threshold(axes: Any, epochs: list[int], thresholds: list[float], gammas: list[float]) -> None:
    _plot(axes, epochs, thresholds, label="threshold", **THRESHOLD_STYLE)
    _plot(axes, epochs, gammas, label="gamma", **GAMMA_STYLE)
    axes.set(title="losses above the threshold were pruned", ylabel="loss")
    axes.legend(loc="best", fontsize=9)


def _plot_changes(axes: Any, columns: dict[str, list[Any]]) -> None:
    epochs = columns["epoch"]
    # With a fixed pruned share equally many samples enter and leave: both lines must be visible where they coincide.
    styles: dict[str, dict[str, Any]] = {
        "entered": {"color": "tab:orange", "linewidth": 3, "alpha": 0.6},
        "left": {"color": "tab:green", "linestyle": "--"},
        "returned": {"color": "tab:purple"},
    }
    lines = [_plot(axes, epochs, columns[f"n_{name}"], label=name, **style) for name, style in styles.items()]
    # All pruned samples enter in the first reweight and few in later ones; a symmetric log scale shows both, and 0.
    axes.set(title="changes from reweight to reweight", ylabel="samples", yscale="symlog")
    axes.set_ylim(-0.2, 10 * max(10, *columns["n_entered"]) ** 1.2)  # leaves room for the legend above the lines
    right = axes.twinx()
    overlap = [np.nan if value is None else 100 * value for value in columns["overlap"]]
    lines.append(_plot(right, epochs, overlap, color="black", linestyle=":", label="overlap (right)"))
    right.set(ylabel="in both reweights, % of those in either", ylim=(-2, 132), yticks=range(0, 101, 20))
    right.legend(handles=lines, fontsize=9, ncols=2, loc="upper center")


def _plot_size(axes: Any, epochs: list[int], sizes: list[float], n: int) -> None:
    _plot(axes, epochs, sizes, label="effective sample size", color="black")
    axes.axhline(n, color="tab:gray", linestyle=":", label="all samples")
    # If a single sample has nearly all the weight, the line would coincide with the axis of a linear scale.
    if min(sizes) < n / 20:
        axes.set(yscale="log", ylim=(0.8, 1.5 * n))
    else:
        axes.set_ylim(0, 1.05 * n)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(title="effective sample size", ylabel="samples")
    axes.legend(loc="best", fontsize=9)


def _plot_samples(axes: Any, pruned: npt.NDArray[np.bool_], name: str, max_samples: int) -> None:
    """Draw the samples that some reweights pruned and others didn't, one per row."""
    n_pruned = np.count_nonzero(pruned, axis=0)
    changing = np.flatnonzero((n_pruned > 0) & (n_pruned < len(pruned)))
    n_changes = np.count_nonzero(pruned[1:, changing] != pruned[:-1, changing], axis=0)
    shown = changing[np.argsort(-n_changes, kind="stable")[:max_samples]]
    labels = "labels" if name == "all" else f"{name} labels"
    count = f"{len(shown):,} of {len(changing):,}" if len(changing) else "none"
    axes.set(title=f"{labels} that change: {count}", yticks=[])
    if not len(changing):
        axes.set_axis_off()
        return
    colours = ListedColormap(["whitesmoke", COLOURS[name]])
    extent = (*axes.get_xlim(), len(shown), 0)
    axes.imshow(pruned[:, shown].T, colours, aspect="auto", interpolation="nearest", vmin=0, vmax=1, extent=extent)
    axes.set(ylabel="one sample per row, dark where pruned;\nthe most changing at the top")


def _row(columns: int) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(4.5 * columns, 3.6), layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _truncate(name: str, max_length: int = 16) -> str:
    if len(name) <= max_length:
        return name
    return name[: max_length - 1] + "…"
