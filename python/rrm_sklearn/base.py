"""BaseRRM: what the classifier and the regressor have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import check_array, column_or_1d, get_tags, indexable
from sklearn.utils.validation import check_is_fitted, validate_data

import rrm_core

from .losses import Floats
from .rounds import Rounds

FITTED = (
    "estimator_",
    "sample_weight_",
    "losses_",
    "plans_",
    "label_issues_",
    "out_of_fold_proba_",
    "estimate_",
)
"""The attributes that rounds and the last fit determine."""


class BaseRRM(MetaEstimatorMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator that is fitted by the weights of RRM."""

    estimator: Any
    estimator_: Any
    sample_weight_: Floats
    losses_: Floats
    plans_: list[rrm_core.Plan | rrm_core.GroupedPlan]
    label_issues_: dict[str, npt.NDArray[Any]]

    def _read_samples(self, X: Any, y: Any) -> tuple[Any, npt.NDArray[Any]]:
        """Return X, in a kind of which rows can be taken, and y as an array; the estimator checks what is in X."""
        X, y = validate_data(self, X, y, skip_check_array=True)
        X, y = indexable(X, y)
        y = check_array(column_or_1d(y, warn=True), ensure_2d=False, dtype=None, input_name="y", estimator=self)
        return X, y

    def _begin(self) -> None:
        """Remove the attributes of an earlier fit: they don't belong to the rounds of this one."""
        for name in FITTED:
            if hasattr(self, name):
                delattr(self, name)

    def _keep(self, rounds: Rounds, sample_weight: Floats, issues: dict[str, npt.NDArray[Any]]) -> None:
        """Set the attributes that a round determines."""
        self.sample_weight_ = sample_weight
        self.losses_ = rounds.losses
        self.plans_ = rounds.plans
        self.label_issues_ = issues

    def _model(self) -> Any:
        """Return the model of all samples; a NotFittedError without one."""
        check_is_fitted(self, "estimator_")
        return self.estimator_

    def _predict(self, X: Any) -> npt.NDArray[Any]:
        """Return what the model of all samples predicts: shape (n,)."""
        # CatBoost returns a column.
        return np.asarray(self._model().predict(X)).ravel()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        of_estimator = get_tags(self.estimator).input_tags
        for name in ("sparse", "allow_nan", "string", "categorical"):
            setattr(tags.input_tags, name, getattr(of_estimator, name))
        return tags
