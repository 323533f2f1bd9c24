"""LogisticRegression of scikit-learn."""

from __future__ import annotations

from typing import Any

from sklearn.linear_model import LogisticRegression

from rrm_sklearn import RRMClassifier  # RRM

from .digits_run import Array, Fitted, Settings
from .fitted_estimator import fitted_estimator

NAME = "scikit-learn, LogisticRegression"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Fit with RRM, or without if there are no settings."""
    model: Any = LogisticRegression(max_iter=1000)
    if settings is not None:
        model = RRMClassifier(model, **settings, random_state=seed)  # RRM
    model.fit(x, y)
    return fitted_estimator(model)
