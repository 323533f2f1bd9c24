"""Reweight: a few numbers of one reweight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

import rrm_core


@dataclass(frozen=True)
class Reweight:
    """One reweight.

    Attributes
    ----------
    epoch : int
        The epoch that it followed, counted from 1; the step, where steps are counted.
    loss_min : float
        The smallest loss.
    threshold, gamma : float or None
        Losses above the threshold were pruned; gamma is its distance from the smallest loss, or as given. None with
        groups and with `BatchRRM`, where each group or batch has its own: those of the last reweight's groups are in
        `RRM.plan`.
    contamination : float, tuple of float, or None
        The share to prune of the samples that took part, or of each group; None with gamma.
    is_given : bool
        Whether `step` was given this contamination, in place of what the settings say.
    n_planned : int
        Number of samples that took part.
    n_pruned : int
        Number of samples pruned.
    n_entered : int
        Of these, not pruned by the reweight before.
    n_left : int
        Pruned by the reweight before, and not by this one.
    n_returned : int
        Of those that entered, pruned by an earlier reweight.
    overlap : float or None
        Samples pruned by this reweight and the one before, over those pruned by either (Jaccard index); None for the
        first reweight, or if neither pruned any.
    largest_weight : float
        After smoothing.
    effective_sample_size : float
        Kish's, (sum w)**2 / sum w**2, of the weights after smoothing.
    objective : float or None
        ``mean(minimum(losses, threshold))``, with the threshold of each sample's group: the least expected loss plus
        price over all distributions, for the model as it is. None without a threshold, or if one is infinite.
    n_planned_by_group, n_pruned_by_group : tuple of int, or None
        How many samples of each group took part, and how many were pruned; None without groups.
    """

    epoch: int
    loss_min: float
    threshold: float | None
    gamma: float | None
    contamination: float | tuple[float, ...] | None
    is_given: bool
    n_planned: int
    n_pruned: int
    n_entered: int
    n_left: int
    n_returned: int
    overlap: float | None
    largest_weight: float
    effective_sample_size: float
    objective: float | None
    n_planned_by_group: tuple[int, ...] | None = None
    n_pruned_by_group: tuple[int, ...] | None = None


def total(counts: int | npt.NDArray[np.int64]) -> int:
    """Return a count of a plan, of all groups together if there are groups."""
    return counts if isinstance(counts, int) else int(counts.sum())


def summarize(plan: rrm_core.Plan | rrm_core.GroupedPlan) -> dict[str, Any]:
    """Return what a `Reweight` takes from a plan without change, by the name of the attribute."""
    if isinstance(plan, rrm_core.GroupedPlan):
        return {
            "loss_min": float(plan.loss_min[plan.sizes > 0].min()),
            "threshold": None,
            "gamma": None,
            "n_planned_by_group": tuple(plan.sizes.tolist()),
            "n_pruned_by_group": tuple(plan.n_pruned.tolist()),
        }
    return {"loss_min": plan.loss_min, "threshold": plan.threshold, "gamma": plan.gamma}
