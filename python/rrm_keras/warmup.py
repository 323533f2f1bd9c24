"""Warmup: the rounds of a warm-up that holds out samples, each an epoch, and the estimate at its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

import rrm_core
from rrm_core._agreement import UNKNOWN, count_agreement
from rrm_core._learnt_estimate import estimate_if_learnt
from rrm_core._warmup_end import Agreement

from .settings import Floats, Integers, Mask

PASSES = 3
"""Latest epochs whose predictions are kept."""


class Predictions(NamedTuple):
    """Classes that were predicted for all samples after an epoch."""

    predicted: Integers
    """int32, shape (n,); `UNKNOWN` for outputs that are NaN."""
    confidence: Floats
    """The probability of the predicted class: float64, shape (n,)."""


@dataclass(frozen=True, eq=False)
class Warmup:
    """The rounds of a warm-up, an immutable value.

    Attributes
    ----------
    held_out : bool array of shape (n,)
    agreement : Agreement
        How often predictions agreed with labels, in each epoch.
    passes : tuple of Predictions
        Of the latest epochs, newest first.
    best_passes : tuple of Predictions
        `passes` after the epoch that `agreement` chooses.
    """

    held_out: Mask
    agreement: Agreement = field(default_factory=Agreement)
    passes: tuple[Predictions, ...] = ()
    best_passes: tuple[Predictions, ...] = ()

    def extended(self, labels: Integers, predictions: Predictions, n_batches: int) -> Warmup:
        """Return the warm-up after one more epoch, of `n_batches` batches."""
        rounds = [count_agreement(labels, predictions.predicted, self.held_out)]
        agreement = self.agreement.extended(rounds, n_batches)
        passes = (predictions, *self.passes[: PASSES - 1])
        best_passes = self.best_passes
        if agreement.chosen == agreement.n_rounds:
            best_passes = passes
        return replace(self, agreement=agreement, passes=passes, best_passes=best_passes)

    def estimate(self, labels: Integers, epoch: int) -> rrm_core.ContaminationEstimate:
        """Return the estimate after `epoch`; it is 0, without an interval, if the model has learnt nothing.

        Raises
        ------
        ValueError
            No sample that was held out has a label and a prediction.
        """
        predicted, confidence = combine_passes(self.best_passes or self.passes)
        return estimate_if_learnt(
            labels,
            predicted,
            confidence,
            self.held_out,
            has_learnt=self.agreement.has_learnt,
            is_rising=self.agreement.is_rising,
            epoch=epoch,
        )


def combine_passes(passes: tuple[Predictions, ...]) -> tuple[Integers, Floats]:
    """Return the class with the largest sum of probabilities over some passes, and that sum.

    Parameters
    ----------
    passes : tuple of Predictions
        The newest first, whose class counts if sums are equal.

    Returns
    -------
    predicted : int32 array of shape (n,)
        `UNKNOWN` without a prediction.
    confidence : float64 array of shape (n,)
    """
    predicted = np.stack([entry.predicted for entry in passes])
    confidence = np.where(predicted == UNKNOWN, 0.0, np.stack([entry.confidence for entry in passes]))
    sums = np.stack([np.where(predicted == row, confidence, 0.0).sum(axis=0) for row in predicted])
    # The first of equal sums.
    choice = sums.argmax(axis=0)[np.newaxis]
    return np.take_along_axis(predicted, choice, axis=0)[0], np.take_along_axis(sums, choice, axis=0)[0]
