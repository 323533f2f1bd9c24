"""Reweight: a few numbers of one reweight."""

from __future__ import annotations

from dataclasses import dataclass


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
        `BatchRRM`, where each batch has its own.
    contamination : float or None
        The share of the samples that took part to prune; None with gamma.
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
        ``mean(minimum(losses, threshold))``: the least expected loss plus price over all distributions, for the model
        as it is. None without a threshold, or if it is infinite.
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
