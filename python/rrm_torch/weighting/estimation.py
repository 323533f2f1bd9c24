"""The estimate of the contamination at the end of a warm-up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

import rrm_core

from .._models import to_numpy
from .layout import Layout
from .outputs import UNKNOWN, confidences, predicted_classes
from .prediction_buffer import PredictionBuffer
from .sample_scores import DEFAULT_CAP

NOTHING_LEARNT = "a model that had learnt nothing"
"""What an estimate of 0 rests on if its model predicted held-out labels hardly more often than by chance."""


def make_estimate(
    predictions: PredictionBuffer, layout: Layout, groups: rrm_core.Groups | None, epoch: int
) -> rrm_core.ContaminationEstimate:
    """Return the estimate after `epoch`, made of the predictions of all samples. Collective where there are ranks.

    It is 0, without an interval, if the model had learnt nothing in the warm-up.

    Raises
    ------
    ValueError
        No sample that was held out has a label and a prediction.
    """
    # Before the first round with a held-out sample, none is chosen.
    codes = predictions.passes if predictions.chosen is None else predictions.chosen
    labels = layout.all_gather(layout.merge_highest(predictions.labels.int())).cpu()
    predicted, confidence = combine_passes(layout.all_gather(layout.merge_highest(codes)).cpu())
    is_known = (labels != UNKNOWN) & (predicted != UNKNOWN)
    held_out = layout.all_gather(predictions.held_out).cpu()
    if not bool((is_known & held_out).any()):
        raise ValueError(
            "the contamination can't be estimated: no sample that was held out has a label and outputs that are "
            "numbers; see whether the model diverged, and whether labels are given as classes"
        )
    estimate = rrm_core.estimate_contamination(
        to_numpy(labels[is_known]),
        to_numpy(predicted[is_known]),
        to_numpy(confidence[is_known]),
        to_numpy(held_out[is_known]),
        groups=None if groups is None else rrm_core.Groups(groups.numbers[to_numpy(is_known)], groups.n_groups),
        is_rising=predictions.agreement.is_rising,
    )
    if predictions.agreement.has_learnt:
        return replace(estimate, epoch=epoch)
    # Its predictions say nothing about the labels: nothing is pruned.
    by_group = None if estimate.by_group is None else (0.0,) * len(estimate.by_group)
    return replace(
        estimate,
        contamination=0.0,
        interval=None,
        by_group=by_group,
        basis=NOTHING_LEARNT,
        epoch=epoch,
    )


def check_sources(predictions: PredictionBuffer, layout: Layout, groups: rrm_core.Groups) -> None:
    """Raise a ValueError if each group has one given class, and each class one group. Collective where there are ranks.

    The groups then seem to be the classes.
    """
    labels = to_numpy(layout.all_gather(layout.merge_highest(predictions.labels.int())))
    is_known = labels != UNKNOWN
    numbers = groups.numbers[is_known].astype(np.int64)
    labels = labels[is_known]
    pairs = np.unique(numbers * (int(labels.max(initial=0)) + 1) + labels)
    if len(pairs) == len(np.unique(numbers)) == len(np.unique(labels)) > 1:
        raise ValueError(
            "each group has one given class of its own, as if groups were the classes, whose shares of wrong labels "
            "can't be estimated one by one: all labels of a class that is not learnt yet seem wrong. Give "
            f"cap={DEFAULT_CAP}: one share is estimated, and at most half of a class is pruned; or give contamination "
            "as an array of shares"
        )


def combine_passes(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the class with the largest sum of probabilities over some passes, and that sum.

    Parameters
    ----------
    codes : Tensor of int32, shape (passes, n)
        See `encode_predictions`; the newest pass first, whose class counts if sums are equal.

    Returns
    -------
    predicted : Tensor of int32, shape (n,)
        `UNKNOWN` without a prediction.
    confidence : Tensor of float64, shape (n,)
    """
    predicted = predicted_classes(codes)
    confidence = confidences(codes)
    sums = torch.stack([torch.where(predicted == row, confidence, 0.0).sum(0) for row in predicted])
    # The first of equal sums.
    largest = sums.max(0).values
    choice = (sums == largest).int().argmax(0, keepdim=True)
    return predicted.gather(0, choice)[0], largest
