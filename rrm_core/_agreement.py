"""How often predictions agree with the given labels of samples that were held out, and how often by chance.

The trainers of this distribution share this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UNKNOWN = -1
"""Stands for a sample without a label, or without a prediction."""

MEMORISING = 0.15
MEMORISING_ERRORS = 3
"""An agreement on trained samples that exceeds the one on samples held out by so much, and by so many standard errors
of a share of one half, is memorised."""


@dataclass(frozen=True)
class Round:
    """How many samples were predicted as labelled in a round.

    Attributes
    ----------
    n_held_out, n_held_out_agreed : int
        Samples held out that were predicted, and those of them predicted as labelled.
    n_trained, n_trained_agreed : int
        The same of the other samples.
    n_pairs_agreed : int
        Pairs of the prediction for a sample held out and the label of any of them that agree: ``n_held_out`` times the
        number that would agree by chance.
    """

    n_held_out: int
    n_held_out_agreed: int
    n_trained: int
    n_trained_agreed: int
    n_pairs_agreed: int

    @property
    def is_memorising(self) -> bool:
        """Whether the agreement on trained samples exceeds the one on samples held out, by far more than chance."""
        gap = _share(self.n_trained_agreed, self.n_trained) - _share(self.n_held_out_agreed, self.n_held_out)
        largest_error = 0.5 / math.sqrt(max(self.n_held_out, 1))
        return gap >= max(MEMORISING, MEMORISING_ERRORS * largest_error)


class Window:
    """The held-out samples of some rounds.

    Attributes
    ----------
    n : int
        Number of predictions, at least 1.
    share, by_chance : float
        The share of them that agreed, and that would agree if predictions didn't depend on the labels.
    """

    def __init__(self, rounds: Sequence[Round]) -> None:
        self.n = max(sum(entry.n_held_out for entry in rounds), 1)
        self.share = sum(entry.n_held_out_agreed for entry in rounds) / self.n
        self.by_chance = math.fsum(_share(entry.n_pairs_agreed, entry.n_held_out) for entry in rounds) / self.n
        self._n_samples = self.n / max(len(rounds), 1)

    @property
    def kappa(self) -> float:
        """The share that agreed beyond chance, of the largest possible one [1]_.

        References
        ----------
        .. [1] J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement
           1960.
        """
        if self.by_chance >= 1:
            return 0.0
        return (self.share - self.by_chance) / (1 - self.by_chance)

    def shows_learning(self, least_kappa: float) -> bool:
        """Return whether Cohen's kappa is at least so high, and more agreed than by chance, by two standard errors."""
        # The rounds saw the same samples.
        error = math.sqrt(self.by_chance * (1 - self.by_chance) / self._n_samples)
        return self.kappa >= least_kappa and self.share - self.by_chance >= 2 * error


def count_agreement(
    labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], held_out: npt.NDArray[np.bool_]
) -> Round:
    """Return how many samples are predicted as labelled, of those with a label and a prediction.

    Parameters
    ----------
    labels, predicted : array of integers, shape (n,)
        Classes, or `UNKNOWN`.
    held_out : bool array of shape (n,)
        The samples that the model was not trained on.
    """
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


def _share(n_agreed: int, n: int) -> float:
    """Return a share; 0 of no samples."""
    return n_agreed / max(n, 1)
