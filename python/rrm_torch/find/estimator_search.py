"""Search for wrong labels with a classifier of scikit-learn, through `rrm_sklearn.RRMClassifier`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from rrm_sklearn import RRMClassifier

from ..weighting.sample_scores import DEFAULT_CAP
from .estimators import Estimator
from .progress import Progress
from .result import Result, with_confidence
from .settings import AUTO, SearchSettings

N_FITS = 10
"""Three rounds of three folds, and all samples."""


class CountedClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that reports each of its fits.

    Parameters
    ----------
    classifier : classifier
    on_fit : callable
        Called without arguments after a fit.
    """

    def __init__(self, classifier: Any, on_fit: Callable[[], None]) -> None:
        self.classifier = classifier
        self.on_fit = on_fit

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> CountedClassifier:  # noqa: N803
        """Fit the classifier, and report it."""
        self.classifier_ = clone(self.classifier)
        argument = "sample_weight"
        if isinstance(self.classifier_, Pipeline):
            argument = f"{self.classifier_.steps[-1][0]}__sample_weight"
        with warnings.catch_warnings():
            # The labels are noisy: a few iterations more change little.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.classifier_.fit(X, y, **{argument: sample_weight})
        self.classes_ = self.classifier_.classes_
        self.on_fit()
        return self

    def predict_proba(self, X: Any) -> Any:  # noqa: N803
        """Return the probability of each class."""
        return self.classifier_.predict_proba(X)

    def predict(self, X: Any) -> Any:  # noqa: N803
        """Return the predicted classes."""
        return self.classifier_.predict(X)


def search_with_estimator(
    estimator: Estimator,
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    ids: npt.NDArray[Any],
    settings: SearchSettings,
    progress: Progress,
) -> Result:
    """Fit a classifier out of fold in rounds of RRM, and return the table of label issues.

    Parameters
    ----------
    estimator : Estimator
    labels : array of int64, shape (n,)
        In [0, n_classes).
    classes : tuple of str
    ids : array of shape (n,)
    settings : SearchSettings
    progress : callable
        Called as ``progress(done, total, what)`` after each fit, in samples.

    Raises
    ------
    KeyboardInterrupt
        The search was interrupted in the first round. Later, what is known is returned.
    TypeError, ValueError
        As `rrm_sklearn.RRMClassifier.fit`.
    """
    n = len(labels)
    n_fits = 0

    def on_fit() -> None:
        nonlocal n_fits
        n_fits += 1
        progress(n_fits * n, N_FITS * n, "training")

    model = RRMClassifier(
        CountedClassifier(estimator.classifier, on_fit),
        contamination=settings.contamination,
        cap=DEFAULT_CAP,
        random_state=settings.seed,
    )
    try:
        # By the names, which warnings mention.
        model.fit(estimator.inputs, np.array(classes, dtype=object)[labels])
    except KeyboardInterrupt:
        if not hasattr(model, "label_issues_"):
            raise
    probabilities = model.out_of_fold_proba_
    return Result(
        issues=with_confidence(_sort(model.label_issues_, ids), probabilities.max(axis=1)),
        estimate=model.estimate_ if settings.contamination == AUTO else None,
        contamination=float(np.mean(model.label_issues_["is_label_issue"])),
        pruned=None,
        model=estimator.description,
        is_complete=hasattr(model, "estimator_"),
    )


def _sort(issues: dict[str, npt.NDArray[Any]], ids: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the table in the order of suspicion, with the ids."""
    rows = np.argsort(issues["label_quality"], kind="stable")
    table = {"index": issues["index"][rows], "id": ids[rows]}
    return table | {name: column[rows] for name, column in issues.items() if name != "index"}
