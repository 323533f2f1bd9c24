"""Warmup: the rounds of a warm-up that holds out samples, each an epoch, and the estimate at its end."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

import rrm_core
from rrm_core._warmup_end import Agreement, Round

from .settings import Floats, Integers, Mask

PASSES = 3
"""Latest epochs whose predictions are kept."""

UNKNOWN = -1
"""Stands for a sample without a label, or without a prediction."""

NOTHING_LEARNT = "a model that had learnt nothing"
"""What an estimate of 0 rests on if its model predicted held-out labels hardly more often than by chance."""


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
    chosen : tuple of Predictions
        `passes` after the epoch that `agreement` chooses.
    """

    held_out: Mask
    agreement: Agreement = field(default_factory=Agreement)
    passes: tuple[Predictions, ...] = ()
    chosen: tuple[Predictions, ...] = ()

    def extended(self, labels: Integers, predictions: Predictions, n_batches: int) -> Warmup:
        """Return the warm-up after one more epoch, of `n_batches` batches."""
        rounds = [count_agreement(labels, predictions.predicted, self.held_out)]
        agreement = self.agreement.extended(rounds, n_batches)
        passes = (predictions, *self.passes[: PASSES - 1])
        chosen = self.chosen
        if agreement.chosen == agreement.n_rounds:
            chosen = passes
        return replace(self, agreement=agreement, passes=passes, chosen=chosen)

    def estimate(self, labels: Integers, epoch: int) -> rrm_core.ContaminationEstimate:
        """Return the estimate after `epoch`; it is 0, without an interval, if the model has learnt nothing.

        Raises
        ------
        ValueError
            No sample that was held out has a label and a prediction.
        """
        predicted, confidence = combine_passes(self.chosen or self.passes)
        is_known = (labels != UNKNOWN) & (predicted != UNKNOWN)
        if not (is_known & self.held_out).any():
            raise ValueError(
                "the contamination can't be estimated: no sample that was held out has a label and outputs that are "
                "numbers; see whether the model diverged"
            )
        estimate = rrm_core.estimate_contamination(
            labels[is_known],
            predicted[is_known],
            confidence[is_known],
            self.held_out[is_known],
            is_rising=self.agreement.is_rising,
        )
        if self.agreement.has_learnt:
            return replace(estimate, epoch=epoch)
        # Its predictions say nothing about the labels: nothing is pruned.
        return replace(estimate, contamination=0.0, interval=None, basis=NOTHING_LEARNT, epoch=epoch)


def count_agreement(labels: Integers, predicted: Integers, held_out: Mask) -> Round:
    """Return how many samples are predicted as labelled, of those with a label and a prediction."""
    is_known = (labels != UNKNOWN) & (predicted != UNKNOWN)
    is_agreed = is_known & (labels == predicted)
    is_unseen = is_known & held_out
    n_classes = int(max(labels.max(initial=0), predicted.max(initial=0))) + 1
    n_given = np.bincount(labels[is_unseen], minlength=n_classes).tolist()
    n_predicted = np.bincount(predicted[is_unseen], minlength=n_classes).tolist()
    return Round(
        n_held_out=int(is_unseen.sum()),
        n_held_out_agreed=int((is_agreed & held_out).sum()),
        n_trained=int((is_known & ~held_out).sum()),
        n_trained_agreed=int((is_agreed & ~held_out).sum()),
        n_pairs_agreed=sum(given * other for given, other in zip(n_given, n_predicted, strict=True)),
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
