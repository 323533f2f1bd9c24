"""The report's pictures. Importing this module imports Matplotlib, but neither pyplot nor a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .comparison import Trial
from .images import ImageData

COLOURS = {"plain": "tab:gray", "RRM": "tab:blue", "clean": "tab:blue", "wrong": "tab:red", "all": "tab:blue"}


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


def _row(columns: int) -> tuple[Figure, list[Any]]:
    figure = Figure(figsize=(4.5 * columns, 3.6), layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _shortened(name: str, most: int = 16) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
