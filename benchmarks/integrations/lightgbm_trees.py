"""Boosted trees of LightGBM."""

from __future__ import annotations

from typing import Any

from lightgbm import LGBMClassifier

from rrm_sklearn import RRMClassifier  # RRM

from .digits_run import Array, Fitted, Settings
from .fitted_estimator import fitted_estimator

NAME = "LightGBM"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Fit with RRM, or without if there are no settings."""
    model: Any = LGBMClassifier(n_estimators=50, num_leaves=15, n_jobs=1, random_state=seed, verbose=-1)
    if settings is not None:
        model = RRMClassifier(model, **settings, random_state=seed)  # RRM
    model.fit(x, y)
    return fitted_estimator(model)
