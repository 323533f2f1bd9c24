"""The estimate of the contamination at the end of a warm-up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import rrm_core
from rrm_core._agreement import UNKNOWN
from rrm_core._learnt_estimate import estimate_if_learnt

from .._models import to_numpy
from .layout import Layout
from .outputs import confidences, predicted_classes
from .prediction_buffer import PredictionBuffer
from .sample_scores import DEFAULT_CAP


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
    held_out = layout.all_gather(predictions.held_out).cpu()
    return estimate_if_learnt(
        to_numpy(labels),
        to_numpy(predicted),
        to_numpy(confidence),
        to_numpy(held_out),
        has_learnt=predictions.agreement.has_learnt,
        groups=groups,
        is_rising=predictions.agreement.is_rising,
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
