"""Boosted trees of CatBoost."""

from __future__ import annotations

from typing import Any

from catboost import CatBoostClassifier

from rrm_sklearn import RRMClassifier  # RRM

from .digits_run import Array, Fitted, Settings
from .fitted_estimator import fitted_estimator

NAME = "CatBoost"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Fit with RRM, or without if there are no settings."""
    options = {"iterations": 60, "depth": 4, "learning_rate": 0.2, "thread_count": 1, "random_seed": seed}
    model: Any = CatBoostClassifier(**options, verbose=False, allow_writing_files=False)
    if settings is not None:
        model = RRMClassifier(model, **settings, random_state=seed)  # RRM
    model.fit(x, y)
    return fitted_estimator(model)
