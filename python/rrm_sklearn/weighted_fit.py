"""WeightedFit: an estimator fitted to samples by weights, and its out-of-fold predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed

from .folds import Fold
from .losses import Floats, Integers
from .weight_argument import weight_argument


class WeightedFit(ABC):
    """An estimator fitted to the same samples many times, each time by other weights.

    Parameters
    ----------
    estimator : estimator
        Cloned for each fit.
    X : array of shape (n, n_features)
    n_jobs : int or None
        Number of fits at a time.

    Raises
    ------
    ValueError
        The estimator takes no sample weights.
    """

    def __init__(self, estimator: Any, X: Any, n_jobs: int | None) -> None:
        self._estimator = estimator
        self._argument = weight_argument(estimator)
        self._X = X
        self._n_jobs = n_jobs

    @abstractmethod
    def targets(self, rows: Integers) -> Any:
        """Return what a model of these rows is fitted to."""

    @abstractmethod
    def empty_predictions(self, n: int) -> Floats:
        """Return an array for the predictions of n samples."""

    @abstractmethod
    def predict(self, model: Any, X: Any, train: Integers) -> Floats:
        """Return what a model of the rows `train` predicts for `X`."""

    def fit(self, rows: Integers, weights: Floats) -> Any:
        """Return a model that was fitted to some rows by their weights."""
        model = clone(self._estimator)
        model.fit(_safe_indexing(self._X, rows), self.targets(rows), **{self._argument: weights[rows]})
        return model

    def fit_all(self, weights: Floats) -> Any:
        """Return a model that was fitted to all rows by their weights."""
        with _noted("fitting all samples by their last weights"):
            return self.fit(np.arange(len(weights)), weights)

    def predict_out_of_fold(self, folds: Sequence[Fold], weights: Floats, number: int) -> Floats:
        """Return the prediction for each sample by the model that was fitted to the other folds.

        Parameters
        ----------
        folds : sequence of Fold
        weights : float64 array of shape (n,)
        number : int
            The number of the round, from 1, for messages.

        Returns
        -------
        float64 array of shape (n,) or (n, n_classes)
            NaN for a sample that no fold tests.
        """
        parts = Parallel(n_jobs=self._n_jobs)(delayed(_predict_fold)(self, fold, weights, number) for fold in folds)
        predictions = self.empty_predictions(len(weights))
        for fold, part in zip(folds, parts, strict=True):
            predictions[fold.test] = part
        return predictions


def _predict_fold(fits: WeightedFit, fold: Fold, weights: Floats, number: int) -> Floats:
    """Return the predictions for the test part of a fold. A function, since other processes may execute it."""
    with _noted(f"in round {number}, fold {fold.number} of {fold.total}"):
        model = fits.fit(fold.train, weights)
        return fits.predict(model, _safe_indexing(fits._X, fold.test), fold.train)


@contextmanager
def _noted(where: str) -> Iterator[None]:
    """Add to an error where it was raised; before Python 3.11 errors have no notes."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "add_note"):
            error.add_note(where)
        raise
