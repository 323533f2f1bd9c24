"""The report's pictures. Importing this module imports Matplotlib, but neither pyplot nor a display."""

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
THRESHOLD: dict[str, Any] = {"color": "tab:gray", "linewidth": 3, "alpha": 0.6}
GAMMA: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 1.2}  # over it: most often they agree


def curves(trials: Sequence[Trial]) -> Figure:
    """Return test accuracy and training loss by epoch: the mean over the seeds, and thinly each seed."""
    figure, (accuracy, loss) = _row(2)
    for name, outcomes in (("plain", [t.plain for t in trials]), ("RRM", [t.weighted for t in trials])):
        for axes, attribute, scale in ((accuracy, "accuracy", 100), (loss, "loss", 1)):
            lines = np.array([[scale * getattr(e, attribute) for e in o.history.epochs] for o in outcomes])
            epochs = np.arange(1, lines.shape[1] + 1)
            axes.plot(epochs, lines.T, color=COLOURS[name], alpha=0.25, linewidth=0.8)
            axes.plot(epochs, lines.mean(axis=0), color=COLOURS[name], label=name)
    for axes, title in ((accuracy, "test accuracy, %"), (loss, "training loss against the given labels")):
        axes.axvline(trials[0].rrm.warmup, color="black", linestyle=":", linewidth=0.8, label="first reweight")
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
    accuracy.legend()
    return figure


def weights(trial: Trial) -> Figure:
    """Return the history of the weights, and their histogram at the end; clean and wrong labels apart where known."""
    figure, (course, final) = _row(2)
    history = trial.weighted.history
    groups = history.members(trial.rrm.n)
    epochs = [e.epoch for e in history.epochs]
    if trial.wrong is not None:
        for name in groups:
            means = [e.groups[name].mean_weight for e in history.epochs]
            course.plot(epochs, means, color=COLOURS[name], label=f"{name} labels")
        course.set(title="mean weight", ylim=(-0.05, None))
        course.legend()
    else:  # the mean over all is 1, always
        thresholds = [np.nan if e.threshold is None else e.threshold for e in history.epochs]
        course.plot(epochs, thresholds, color=COLOURS["all"])
        course.set(title="threshold of the loss")
    last = trial.rrm.weights.numpy()
    bins = list(np.linspace(0, max(float(last.max()), 1.0) * 1.02, 31))
    for name, mask in groups.items():  # one over the other: stacked bars would lie on a logarithmic scale
        final.hist(last[mask], bins, color=COLOURS[name], alpha=0.6, label=f"{name} labels")
    final.set(xlabel="weight", title="samples by weight, at the end", yscale="log", ylim=(0.5, None))
    final.legend()
    course.set(xlabel="epoch")
    for axes in (course, final):
        axes.grid(alpha=0.3)
    return figure


def suspicious(data: ImageData, trial: Trial, rows: int = 3, columns: int = 8) -> Figure:
    """Return the most suspicious samples with their given and predicted labels."""
    worst = trial.rrm.flagged()[: rows * columns].numpy()
    predicted = trial.probabilities.argmax(1)
    figure = Figure(figsize=(1.35 * columns, 1.85 * rows + 0.5), layout="constrained")
    known = "" if trial.wrong is None else " (red: in truth the given label is right)"
    figure.suptitle(f"Most suspicious: given label, and below it what the model says{known}", fontsize=11)
    for place, (i, picture) in enumerate(zip(worst.tolist(), data.pictures(worst), strict=True)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(picture, cmap="gray_r" if picture.ndim == 2 else None, vmin=0, vmax=1)
        axes.set_axis_off()
        right = trial.wrong is not None and not trial.wrong[i]
        given, guess = (_shortened(data.classes[k]) for k in (trial.labels[i], predicted[i]))
        colour = "tab:red" if right else "black"
        axes.set_title(f"{given}\n→ {guess}", fontsize=9, color=colour, parse_math=False)
    return figure


def trajectory(rrm: RRM, wrong: npt.NDArray[np.bool_] | Tensor | None = None, most: int = 200) -> Figure:
    """Return the course of the reweights: what each pruned, where it drew the line, and who was pruned now and then.

    Parameters
    ----------
    rrm : RRM
        After its first reweight.
    wrong : bool array of shape (n,), optional
        Which labels are wrong, where the truth is known.
    most : int, default 200
        Samples to show the course of, at most.

    Returns
    -------
    Figure
        On the left, by round: the share pruned; threshold and gamma, unless each batch has its own; how many samples
        entered, left and returned, and how much of the former choice remained; the effective sample size. On the right
        the courses of single samples that some rounds pruned and others didn't, those that changed most often at the
        top; clean and wrong ones apart where known.

    Raises
    ------
    ValueError
        Nothing was reweighted yet, or `wrong` has another length.
    """
    rounds, pruned = rrm.trajectory.rounds, rrm.trajectory.pruned().numpy()
    if not rounds:
        raise ValueError("there is no trajectory to draw before the first reweight")
    groups = {"all": np.ones(rrm.n, dtype=bool)}
    if wrong is not None:
        mask = np.asarray(wrong.cpu() if isinstance(wrong, Tensor) else wrong, dtype=bool)
        if mask.shape != (rrm.n,):
            raise ValueError(f"wrong must have shape ({rrm.n},), one per sample, got {mask.shape}")
        groups = {name: members for name, members in (("wrong", mask), ("clean", ~mask)) if members.any()}
    columns: dict[str, list[Any]] = {name: [getattr(entry, name) for entry in rounds] for name in vars(rounds[0])}
    epochs = columns["epoch"]
    finite = {
        name: [np.nan if value is None or not np.isfinite(value) else value for value in columns[name]]
        for name in ("threshold", "gamma")
    }
    known = not np.isnan(finite["threshold"]).all()

    figure = Figure(figsize=(14.5, 7.2), layout="constrained")
    left = [["share", "threshold" if known else "share"], ["changes", "size"]]
    right = [next(iter(groups)), list(groups)[-1]]
    panels: dict[str, Any] = figure.subplot_mosaic([[*left[i], right[i]] for i in range(2)], width_ratios=[1, 1, 1.2])
    _share(panels["share"], epochs, pruned, groups)
    if known:
        for name, style in (("threshold", THRESHOLD), ("gamma", GAMMA)):
            _course(panels["threshold"], epochs, finite[name], label=name, **style)
        panels["threshold"].set(title="losses above the threshold were pruned", ylabel="loss")
        panels["threshold"].legend(fontsize=9)
    _changes(panels["changes"], columns)
    _size(panels["size"], epochs, columns["effective_sample_size"], rrm.n)
    half = (epochs[1] - epochs[0]) / 2 if len(epochs) > 1 else 0.5
    for name, axes in panels.items():
        axes.set(xlabel=rrm.unit, xlim=(epochs[0] - half, epochs[-1] + half))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if name in groups:
            _courses(axes, pruned[:, groups[name]], name, most // len(groups))
        else:
            axes.grid(alpha=0.3)
    reweights = "1 reweight" if len(rounds) == 1 else f"{len(rounds):,} reweights"
    figure.suptitle(f"{reweights} of {rrm.n:,} samples")
    return figure


def _course(axes: Any, epochs: list[int], values: Sequence[float], **style: Any) -> Any:
    """Draw a line by round; with dots where there are so few that a line might not be seen."""
    return axes.plot(epochs, values, marker="." if len(epochs) < 8 else None, **style)[0]


def _share(
    axes: Any, epochs: list[int], pruned: npt.NDArray[np.bool_], groups: dict[str, npt.NDArray[np.bool_]]
) -> None:
    for name, members in groups.items():
        share = [100 * np.count_nonzero(row & members) / np.count_nonzero(members) for row in pruned]
        _course(axes, epochs, share, color=COLOURS[name], label=f"{name} labels")
    axes.set(title="pruned", ylabel="% of these labels", ylim=(0, None) if "all" in groups else (-2, 102))
    axes.legend(fontsize=9)


def _changes(axes: Any, columns: dict[str, list[Any]]) -> None:
    epochs = columns["epoch"]
    # Where a fixed share is pruned, as many leave as enter: the one line must be seen through the other.
    styles: dict[str, dict[str, Any]] = {
        "entered": {"color": "tab:orange", "linewidth": 3, "alpha": 0.6},
        "left": {"color": "tab:green", "linestyle": "--"},
        "returned": {"color": "tab:purple"},
    }
    lines = [_course(axes, epochs, columns[f"n_{name}"], label=name, **style) for name, style in styles.items()]
    # In the first round all that are pruned enter, later a few do: only a logarithm shows both, and 0 as well.
    axes.set(title="changes from round to round", ylabel="samples", yscale="symlog")
    axes.set_ylim(-0.2, 10 * max(10, *columns["n_entered"]) ** 1.2)  # room for the legend above the lines
    right = axes.twinx()
    overlap = [np.nan if value is None else 100 * value for value in columns["overlap"]]
    lines.append(_course(right, epochs, overlap, color="black", linestyle=":", label="overlap (right)"))
    right.set(ylabel="in both rounds, % of those in either", ylim=(-2, 132), yticks=range(0, 101, 20))
    right.legend(handles=lines, fontsize=9, ncols=2, loc="upper center")


def _size(axes: Any, epochs: list[int], sizes: list[float], n: int) -> None:
    _course(axes, epochs, sizes, label="effective sample size", color="black")
    axes.axhline(n, color="tab:gray", linestyle=":", label="all samples")
    # A single sample may hold nearly all the weight; on a straight scale that would be no line at all.
    if min(sizes) < n / 20:
        axes.set(yscale="log", ylim=(0.8, 1.5 * n))
    else:
        axes.set_ylim(0, 1.05 * n)
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set(title="effective sample size", ylabel="samples")
    axes.legend(fontsize=9)


def _courses(axes: Any, pruned: npt.NDArray[np.bool_], name: str, most: int) -> None:
    """Draw the samples that some rounds pruned and others didn't, one a row, over the whole width of the axes."""
    times = np.count_nonzero(pruned, axis=0)
    wavering = np.flatnonzero((times > 0) & (times < len(pruned)))
    changes = np.count_nonzero(pruned[1:, wavering] != pruned[:-1, wavering], axis=0)
    chosen = wavering[np.argsort(-changes, kind="stable")[:most]]
    which = "labels" if name == "all" else f"{name} labels"
    shown = f"{len(chosen):,} of {len(wavering):,}" if len(wavering) else "none"
    axes.set(title=f"{which} that waver: {shown}", yticks=[])
    if not len(wavering):
        axes.set_axis_off()
        return
    colours = ListedColormap(["whitesmoke", COLOURS[name]])
    extent = (*axes.get_xlim(), len(chosen), 0)
    axes.imshow(pruned[:, chosen].T, colours, aspect="auto", interpolation="nearest", vmin=0, vmax=1, extent=extent)
    axes.set(ylabel="one sample a row, dark where pruned;\nthe most changing at the top")


def _row(columns: int) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(4.5 * columns, 3.6), layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _shortened(name: str, most: int = 16) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
