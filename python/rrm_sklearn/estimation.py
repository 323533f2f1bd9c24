"""The estimate of the share of wrong labels, from out-of-fold probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import rrm_core
from rrm_core._agreement import Window, count_agreement
from rrm_core._learnt_estimate import estimate_if_learnt

from .losses import Floats, Integers

LEARNT = 0.04
"""Cohen's kappa of the predicted and the given labels, of a model that has learnt something. Of two classes with 40 %
wrong labels it is at most 0.2, and 0.05 of a model that is misled by them."""


def estimate_wrong_share(labels: Integers, probabilities: Floats) -> rrm_core.ContaminationEstimate:
    """Return the estimate of `rrm_core.estimate_contamination`; 0, without an interval, of models that learnt nothing.

    Parameters
    ----------
    labels : array of integers, shape (n,)
        In [0, n_classes).
    probabilities : float64 array of shape (n, n_classes)
        Predicted by models that were not trained on the sample.
    """
    predicted = probabilities.argmax(axis=1)
    is_held_out = np.ones(len(labels), bool)
    agreement = Window([count_agreement(labels, predicted, is_held_out)])
    return estimate_if_learnt(
        labels, predicted, probabilities.max(axis=1), is_held_out, has_learnt=agreement.shows_learning(LEARNT)
    )


def combine(estimates: Sequence[rrm_core.ContaminationEstimate]) -> rrm_core.ContaminationEstimate:
    """Return the estimate of the first round with the mean share of all rounds, which its interval is widened to hold.

    The models of the first round are misled by wrong labels, and see too many where classes are confused at random, too
    few where one class is mistaken for another. Those of later rounds are trained without the labels that were pruned,
    and see fewer.
    """
    first = estimates[0]
    if len(estimates) == 1 or first.interval is None:
        return first
    share = math.fsum(estimate.contamination for estimate in estimates) / len(estimates)
    lower, upper = first.interval
    return replace(
        first,
        contamination=share,
        interval=(min(lower, share), max(upper, share)),
        basis=f"{first.basis}; the mean of {len(estimates)} rounds",
    )


def transition_matrix(estimate: rrm_core.ContaminationEstimate, n_classes: int) -> Floats:
    """Return the probability of each given label by true class: float64, shape (n_classes, n_classes).

    Row k are the given labels of the more confident predictions of k, with 1 sample more, spread over all classes.
    """
    joint = estimate.confident_joint(n_classes).T + 1 / n_classes
    transition: Floats = joint / joint.sum(axis=1, keepdims=True)
    return transition


def share_to_prune(estimate: rrm_core.ContaminationEstimate) -> float:
    """Return the estimated share, or 0 if its interval reaches 0: pruning clean samples costs accuracy."""
    if estimate.interval is None or estimate.interval[0] == 0:
        return 0.0
    return estimate.contamination
