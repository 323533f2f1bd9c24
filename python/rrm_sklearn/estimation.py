"""The estimate of the share of wrong labels, from out-of-fold probabilities."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

import rrm_core

from .losses import Floats, Integers

LEARNT = 0.1
"""Cohen's kappa of the predicted and the given labels, of a model that has learnt something."""

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
