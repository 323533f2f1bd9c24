"""The estimate of the share of wrong labels, from out-of-fold probabilities."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

import rrm_core

from .losses import Floats, Integers

LEARNT = 0.04
"""Cohen's kappa of the predicted and the given labels, of a model that has learnt something. Of two classes with 40 %
wrong labels it is at most 0.2, and 0.05 of a model that is misled by them."""

NOTHING_LEARNT = "models that had learnt nothing"
"""What an estimate of 0 rests on if the predictions agree with the labels hardly more often than by chance."""


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
    estimate = rrm_core.estimate_contamination(labels, predicted, probabilities.max(axis=1), is_held_out)
    if has_learnt(labels, predicted):
        return estimate
    return replace(estimate, contamination=0.0, interval=None, basis=NOTHING_LEARNT)


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


def has_learnt(labels: Integers, predicted: Integers) -> bool:
    """Return whether predictions agree with labels beyond chance, by more than two standard errors.

    Parameters
    ----------
    labels, predicted : array of integers, shape (n,)

    Notes
    -----
    The share of the agreement beyond chance, of the largest possible one, is Cohen's kappa [1]_; it must be at least
    `LEARNT`.

    References
    ----------
    .. [1] J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 1960.
    """
    n: int = len(labels)
    n_agreed = int(np.count_nonzero(labels == predicted))
    n_classes = int(max(labels.max(), predicted.max())) + 1
    counts = [np.bincount(classes, minlength=n_classes).tolist() for classes in (labels, predicted)]
    # Of n * n pairs of a label and a prediction, those that agree.
    n_pairs_agreed = sum(n_given * n_predicted for n_given, n_predicted in zip(*counts, strict=True))
    by_chance: float = n_pairs_agreed / n**2
    beyond_chance = n_agreed / n - by_chance
    standard_error = math.sqrt(by_chance * (1 - by_chance) / n)
    return 0 < max(LEARNT * (1 - by_chance), 2 * standard_error) <= beyond_chance
