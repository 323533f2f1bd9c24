"""WeightedFit: an estimator fitted to samples by weights, and its out-of-fold predictions; for classes, for numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed

from .folds import Fold
from .losses import Floats, Integers
from .sample_weights import weight_argument


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


class ClassifierFit(WeightedFit):
    """A classifier fitted to class numbers, which predicts probabilities.

    Parameters
    ----------
    estimator : classifier
    X : array of shape (n, n_features)
    codes : array of integers, shape (n,)
        In [0, n_classes).
    n_classes : int
    n_jobs : int or None

    Raises
    ------
    ValueError
        The estimator is a regressor, takes no sample weights, or predicts no probabilities.
    """

    def __init__(self, estimator: Any, X: Any, codes: Integers, n_classes: int, n_jobs: int | None) -> None:
        super().__init__(estimator, X, n_jobs)
        if is_regressor(estimator):
            raise ValueError(f"estimator must be a classifier, got {type(estimator).__name__}; use RRMRegressor")
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"estimator must have predict_proba, by which labels are judged, but {type(estimator).__name__} has "
                "not; wrap it in sklearn.calibration.CalibratedClassifierCV"
            )
        self._codes = codes
        self._n_classes = n_classes

    def targets(self, rows: Integers) -> Integers:
        """Return the classes of some rows, numbered from 0 without gaps, which XGBoost requires."""
        numbers: Integers = np.unique(self._codes[rows], return_inverse=True)[1]
        return numbers

    def empty_predictions(self, n: int) -> Floats:
        """Return an array for the probabilities of n samples."""
        return np.full((n, self._n_classes), np.nan)

    def predict(self, model: Any, X: Any, train: Integers) -> Floats:
        """Return the probabilities of all classes in float64, 0 for one that the training part lacks."""
        trained = np.unique(self._codes[train])
        probabilities = np.asarray(model.predict_proba(X), dtype=np.float64)
        if probabilities.shape[1] != len(trained):
            raise ValueError(
                f"predict_proba of {type(model).__name__} must have one column for each of {len(trained)} classes, got "
                f"{probabilities.shape[1]}"
            )
        of_all = np.zeros((len(probabilities), self._n_classes))
        of_all[:, trained] = probabilities
        return of_all


class RegressorFit(WeightedFit):
    """A regressor fitted to numbers.

    Parameters
    ----------
    estimator : regressor
    X : array of shape (n, n_features)
    targets : float64 array of shape (n,)
    n_jobs : int or None
    """

    def __init__(self, estimator: Any, X: Any, targets: Floats, n_jobs: int | None) -> None:
        super().__init__(estimator, X, n_jobs)
        if is_classifier(estimator):
            raise ValueError(f"estimator must be a regressor, got {type(estimator).__name__}; use RRMClassifier")
        self._targets = targets

    def targets(self, rows: Integers) -> Floats:
        """Return the targets of some rows."""
        return self._targets[rows]

    def empty_predictions(self, n: int) -> Floats:
        """Return an array for the predictions of n samples."""
        return np.full(n, np.nan)

    def predict(self, model: Any, X: Any, train: Integers) -> Floats:  # noqa: ARG002
        """Return the predicted targets in float64."""
        return np.asarray(model.predict(X), dtype=np.float64).ravel()


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
