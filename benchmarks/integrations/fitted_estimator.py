"""What a fitted estimator of scikit-learn predicts, and flags if it is an RRMClassifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from rrm_sklearn import RRMClassifier

from .digits_run import Array, Fitted


class FlaggedSamples:
    """The samples that an RRMClassifier flags, and its estimate."""

    def __init__(self, model: RRMClassifier) -> None:
        self.estimate = model.estimate_
        self._is_flagged = model.label_issues_["is_label_issue"]

    def flagged(self) -> Array:
        """Return the indices of the samples."""
        return np.flatnonzero(self._is_flagged)


def fitted_estimator(model: Any) -> Fitted:
    """Return what a fitted estimator predicts, as a column or not, and flags."""
    flagged = FlaggedSamples(model) if isinstance(model, RRMClassifier) else None
    return Fitted(lambda images: model.predict(images).reshape(-1), flagged)
