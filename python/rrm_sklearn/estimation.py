"""The estimate of the share of wrong labels over the rounds of a fit, and the transition matrix made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import rrm_core

from .losses import Floats


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
