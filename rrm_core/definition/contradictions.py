"""RankedPredictions: how often the most confident predictions contradict the given labels, exactly."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .formats import Array


class RankedPredictions:
    """Predictions in the order of their confidence, by predicted class, or by a group and predicted class.

    The shares follow from order statistics and integer counts only, and do not depend on the order of the samples.

    Parameters
    ----------
    is_wrong : bool array of shape (n,)
        Whether the prediction contradicts the label.
    predicted : integer array of shape (n,)
        The predicted class.
    confidence : float array of shape (n,)
        Without NaN.
    groups : integer array of shape (n,), optional
        Samples are then compared within their group only.
    """

    def __init__(
        self,
        is_wrong: npt.NDArray[np.bool_],
        predicted: Array,
        confidence: Array,
        groups: Array | None = None,
    ) -> None:
        keys = [-confidence, predicted]
        if groups is not None:
            keys.append(groups)
        order = np.lexsort(keys)
        confidence = confidence[order]
        is_first = _changes(predicted[order])
        self.groups: Array | None = None
        if groups is not None:
            ordered_groups = groups[order]
            is_first |= _changes(ordered_groups)
        # A class is a run of samples, in which equal confidences are a run of ties.
        self._starts = np.flatnonzero(is_first)
        self._sizes = np.diff(self._starts, append=len(order))
        if groups is not None:
            self.groups = ordered_groups[self._starts]
        self._tie_starts = np.flatnonzero(is_first | _changes(confidence))
        self._tie_ends = np.append(self._tie_starts[1:], len(order))
        # Number of wrong ones before each position.
        self._n_wrong = np.concatenate(([0], np.cumsum(is_wrong[order], dtype=np.int64)))
        self.order = order

    def contradicted(self, divisor: int) -> float:
        """Return the share contradicted among the most confident of each class.

        Parameters
        ----------
        divisor : int
            Of each predicted class, the most confident ``ceil(size / divisor)`` samples are taken. Of samples whose
            confidence ties at the end, the share that would be taken in a random order counts.

        Returns
        -------
        float
            The mean over the predicted classes, weighted by their sizes; 0 without samples.
        """
        n = int(self._sizes.sum())
        if n == 0:
            return 0.0
        return math.fsum(self._shares(divisor) * self._sizes) / n

    def contradicted_by_group(self, divisor: int, n_groups: int) -> list[float]:
        """Return `contradicted` of each group; 0 for a group without samples."""
        assert self.groups is not None
        products = self._shares(divisor) * self._sizes
        bounds = np.searchsorted(self.groups, np.arange(n_groups + 1))
        shares = []
        for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            n = int(self._sizes[start:end].sum())
            shares.append(math.fsum(products[start:end]) / n if n else 0.0)
        return shares

    def most_confident(self, divisor: int) -> Array:
        """Return the samples that `contradicted` takes, with all that tie at the end: int64, shape (m,)."""
        ties = self._last_ties(divisor)
        is_taken = np.zeros(len(self.order) + 1, np.int64)
        np.add.at(is_taken, self._starts, 1)
        np.add.at(is_taken, self._tie_ends[ties], -1)
        return self.order[np.cumsum(is_taken[:-1]) > 0]

    def _last_ties(self, divisor: int) -> Array:
        """Return the run of ties in which the last sample taken of each class lies."""
        n_taken = -(-self._sizes // divisor)
        ties: Array = np.searchsorted(self._tie_starts, self._starts + n_taken - 1, side="right") - 1
        return ties

    def _shares(self, divisor: int) -> npt.NDArray[np.float64]:
        """Return the share contradicted of each class."""
        n_taken = -(-self._sizes // divisor)
        ties = self._last_ties(divisor)
        tie_starts = self._tie_starts[ties]
        tie_ends = self._tie_ends[ties]
        n_wrong_above = self._n_wrong[tie_starts] - self._n_wrong[self._starts]
        n_wrong_tied = self._n_wrong[tie_ends] - self._n_wrong[tie_starts]
        n_tied = tie_ends - tie_starts
        n_taken_tied = self._starts + n_taken - tie_starts
        shares: npt.NDArray[np.float64] = (n_wrong_above * n_tied + n_wrong_tied * n_taken_tied) / (n_tied * n_taken)
        return shares


def _changes(values: Array) -> npt.NDArray[np.bool_]:
    """Return whether each element differs from the one before; True for the first."""
    changes = np.ones(len(values), bool)
    changes[1:] = values[1:] != values[:-1]
    return changes
