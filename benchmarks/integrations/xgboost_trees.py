"""Boosted trees of XGBoost."""

from __future__ import annotations

from typing import Any

from xgboost import XGBClassifier

from rrm_sklearn import RRMClassifier  # RRM

from .digits_run import Array, Fitted, Settings
from .fitted_estimator import fitted_estimator

NAME = "XGBoost"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Fit with RRM, or without if there are no settings."""
    model: Any = XGBClassifier(n_estimators=50, max_depth=4, n_jobs=1, random_state=seed)
    if settings is not None:
        model = RRMClassifier(model, **settings, random_state=seed)  # RRM
    model.fit(x, y)
    return fitted_estimator(model)
