"""Search for wrong labels by the predictions of a model that was not trained on the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_core._out_of_fold import estimate_wrong_share, share_to_prune
from rrm_review import make_issues

from ..weighting.sample_scores import DEFAULT_CAP
from .result import Result, with_confidence
from .settings import SearchSettings

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
        estimate = estimate_wrong_share(labels, probabilities)
        contamination = share_to_prune(estimate)
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
