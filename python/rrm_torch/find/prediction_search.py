"""Search for wrong labels by the predictions of a model that was not trained on the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_core._agreement import Window, count_agreement
from rrm_core._learnt_estimate import estimate_if_learnt
from rrm_review import make_issues

from ..weighting.sample_scores import DEFAULT_CAP
from .result import Result, with_confidence
from .settings import SearchSettings

LEARNT = 0.04
"""Cohen's kappa of predictions that say something about the labels."""

SMALLEST_PROBABILITY = 1e-12


def search_predictions(
    probabilities: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    ids: npt.NDArray[Any],
    settings: SearchSettings,
) -> Result:
    """Prune the samples with the largest cross-entropy, and return the table of label issues.

    Parameters
    ----------
    probabilities : array of float64, shape (n, n_classes)
        Each row sums to 1. Those of a model that was trained on the samples contradict too few labels.
    labels : array of int64, shape (n,)
        In [0, n_classes).
    classes : tuple of str
    ids : array of shape (n,)
    settings : SearchSettings
    """
    n = len(labels)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    estimate = None
    contamination = settings.contamination
    if isinstance(contamination, str):
        estimate = _estimate(labels, predicted, confidence)
        contamination = estimate.contamination
        # As in training: pruning costs accuracy where all labels may be correct.
        if estimate.interval is None or estimate.interval[0] == 0:
            contamination = 0.0
    losses = -np.log(np.maximum(probabilities[np.arange(n), labels], SMALLEST_PROBABILITY))
    weights, plan = rrm_core.reweight(losses, contamination=contamination, groups=labels, cap=DEFAULT_CAP)
    is_pruned = losses > plan.threshold[labels]
    names = np.array(classes, dtype=object)
    issues = make_issues(
        is_label_issue=is_pruned,
        share_pruned=is_pruned.astype(np.float64),
        mean_excess=losses,
        sample_weight=weights,
        loss=losses,
        labels=names[labels],
        predictions=names[predicted],
        ids=ids,
    )
    return Result(
        issues=with_confidence(issues, confidence),
        estimate=estimate,
        contamination=float(is_pruned.mean()),
        pruned=None,
        model="the predictions that were passed",
        is_complete=True,
    )


def _estimate(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], confidence: npt.NDArray[np.float64]
) -> rrm_core.ContaminationEstimate:
    is_held_out = np.ones(len(labels), bool)
    agreement = Window([count_agreement(labels, predicted, is_held_out)])
    return estimate_if_learnt(labels, predicted, confidence, is_held_out, has_learnt=agreement.shows_learning(LEARNT))
