"""The figure of weights for data of which the wrong labels aren't known: losses and classes of the pruned samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from ..training.compare import Trial

MAX_CLASSES = 25
MAX_NAME = 24  # characters
BINS = 50


def losses_and_classes(trial: Trial, classes: Sequence[str]) -> Figure:
    """Plot the losses of the samples that keep their weight and of those pruned, and the pruned share of each class.

    Parameters
    ----------
    trial : Trial
        After its first reweight.
    classes : sequence of str
        The name of each class.

    Returns
    -------
    Figure
        On the left, samples by the loss behind the last reweight. On the right, the classes of which it pruned the
        largest shares, 25 at most.
    """
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    is_pruned = trial.rrm.weights.numpy() == 0
    _plot_losses(left, trial.rrm.losses.numpy(), is_pruned, trial.rrm.trajectory.rounds[-1].threshold)
    _plot_classes(right, trial.labels, is_pruned, classes)
    return figure


def _plot_losses(
    axes: Any, losses: npt.NDArray[Any], is_pruned: npt.NDArray[np.bool_], threshold: float | None
) -> None:
    finite = losses[np.isfinite(losses)]
    bins = list(np.linspace(0, max(float(finite.max(initial=0)), 1e-6), BINS + 1))
    for name, mask, colour in (("kept", ~is_pruned, "tab:blue"), ("pruned", is_pruned, "tab:orange")):
        axes.hist(losses[mask & np.isfinite(losses)], bins, color=colour, alpha=0.7, label=f"{name}: {mask.sum():,}")
    if threshold is not None and np.isfinite(threshold):
        axes.axvline(threshold, color="black", linestyle="--", linewidth=0.8, label=f"threshold: {threshold:.3g}")
    axes.set(xlabel="loss at the last reweight", title="samples by loss", yscale="log", ylim=(0.5, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def _plot_classes(
    axes: Any, labels: npt.NDArray[np.int64], is_pruned: npt.NDArray[np.bool_], classes: Sequence[str]
) -> None:
    n_samples = np.bincount(labels, minlength=len(classes))
    n_pruned = np.bincount(labels[is_pruned], minlength=len(classes))
    shares = 100 * n_pruned / np.maximum(n_samples, 1)
    order = np.argsort(-shares, kind="stable")[:MAX_CLASSES]
    axes.barh(range(len(order)), shares[order], color="tab:orange", alpha=0.7)
    for row, label in enumerate(order):
        axes.text(shares[label], row, f" {n_pruned[label]:,} of {n_samples[label]:,}", va="center", fontsize=7)
    axes.set_yticks(range(len(order)), [_shorten(classes[label]) for label in order], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.25)
    title = "pruned share of each given class, %"
    if len(order) < len(classes):
        title += f" (the largest {len(order)} of {len(classes):,})"
    axes.set(title=title)
    axes.grid(alpha=0.3, axis="x")


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
