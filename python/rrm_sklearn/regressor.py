"""RRMRegressor: a regressor fitted by the weights of RRM."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin

from .base import BaseRRM
from .folds import make_folds
from .issue_table import make_number_issues
from .losses import squared_error
from .rounds import iterate_rounds
from .sample_weights import as_weights
from .settings import AUTO, Redistribute, Ties, make_settings
from .weighted_fit import RegressorFit


class RRMRegressor(RegressorMixin, BaseRRM):  # type: ignore[misc]
    """A regressor fitted to targets of which some are wrong.

    As `RRMClassifier`, with the squared error of out-of-fold predictions as loss.

    Parameters
    ----------
    estimator : regressor
        Its ``fit`` takes ``sample_weight``.
    contamination : float in [0, 1)
        The share of wrong targets, of the samples whatever their weight. It can't be estimated: a prediction
        contradicts a class, but not a number.
    rounds, cv, mu, redistribute, ties, random_state, n_jobs
        As for `RRMClassifier`.

    Attributes
    ----------
    estimator_ : regressor
        The model of all samples.
    n_features_in_, feature_names_in_, sample_weight_, losses_, plans_
        As for `RRMClassifier`.
    label_issues_ : dict of str to array, shape (n,)
        As for `RRMClassifier`; ``given_label`` and ``predicted_label`` are numbers.

    Notes
    -----
    The samples with the largest errors are pruned, also where targets are correct and vary more than elsewhere.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> from rrm_sklearn import RRMRegressor
    >>> x = np.arange(20.0)[:, None]
    >>> y = 2 * x[:, 0]
    >>> y[[3, 7]] += 100
    >>> model = RRMRegressor(LinearRegression(), contamination=0.1).fit(x, y)
    >>> np.flatnonzero(model.label_issues_["is_label_issue"]).tolist()
    [3, 7]
    >>> model.predict([[30.0]]).round(3)
    array([60.])
    """

    def __init__(
        self,
        estimator: Any,
        contamination: float,
        *,
        rounds: int = 3,
        cv: Any = 3,
        mu: float = 1.0,
        redistribute: Redistribute = "kept",
        ties: Ties = "keep",
        random_state: Any = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.contamination = contamination
        self.rounds = rounds
        self.cv = cv
        self.mu = mu
        self.redistribute = redistribute
        self.ties = ties
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> RRMRegressor:
        """Fit the estimator.

        Parameters
        ----------
        X : array, sparse matrix or data frame of shape (n, n_features)
            What the estimator takes.
        y : array of float, shape (n,)
            The given targets.
        sample_weight : array of float, shape (n,), optional
            Finite and at least 0. They multiply the weights of RRM. A sample of weight 0 is not judged.

        Returns
        -------
        RRMRegressor
            This object.

        Raises
        ------
        TypeError, ValueError
            As `RRMClassifier.fit`; also if `contamination` is ``"auto"``, or the estimator is a classifier.
        """
        if isinstance(self.contamination, str) and self.contamination == AUTO:
            raise ValueError(
                "contamination must be a number: 'auto' counts predictions that contradict the labels, and a number is "
                "never contradicted, only missed by more or less; give the share of wrong targets, such as that among "
                "100 targets that were checked"
            )
        settings = make_settings(self.contamination, self.rounds, self.mu, self.redistribute, self.ties, None)
        X, y = self._read_samples(X, y)
        targets = y.astype(np.float64)
        given_weights = as_weights(sample_weight, len(targets))
        is_judged = given_weights > 0
        fits = RegressorFit(self.estimator, X, targets, self.n_jobs)
        folds = make_folds(self.cv, X, targets, is_judged, self.random_state, is_classifier=False)
        self._begin()
        for rounds in iterate_rounds(
            settings,
            lambda weights, number: fits.predict_out_of_fold(folds, weights * given_weights, number),
            lambda predictions, _: squared_error(targets, predictions),
            is_judged,
        ):
            weights = rounds.weights * given_weights
            self._keep(rounds, weights, make_number_issues(rounds, targets))
        self.estimator_ = fits.fit_all(weights)
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the predicted targets.

        Parameters
        ----------
        X : array of shape (n, n_features)

        Returns
        -------
        array of shape (n,)
        """
        return self._predict(X)
