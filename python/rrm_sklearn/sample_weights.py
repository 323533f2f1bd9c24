"""Sample weights: those of the caller, and the argument by which an estimator's ``fit`` takes them."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import sklearn
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from .losses import Floats

SAMPLE_WEIGHT = "sample_weight"


def as_weights(sample_weight: Any, n: int) -> Floats:
    """Return a caller's sample weights as float64; ones for None.

    Raises
    ------
    ValueError
        They have another shape than (n,), or one is NaN, infinite or negative, or none is above 0.
    """
    if sample_weight is None:
        return np.ones(n)
    weights: Floats = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), one weight per sample, got {weights.shape}")
    invalid = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
    if len(invalid):
        raise ValueError(
            f"sample_weight must be finite and at least 0, got {weights[invalid[0]]} at index {invalid[0]}"
        )
    if not weights.any():
        raise ValueError("sample_weight must be above 0 for at least one sample, got only zeros")
    return weights


def weight_argument(estimator: Any) -> str:
    """Return the keyword under which an estimator's ``fit`` takes sample weights.

    It is ``"sample_weight"``, with the name of the step before it for the last step of a pipeline. With metadata
    routing a pipeline takes ``"sample_weight"`` itself, and passes it to the steps that request it.

    Raises
    ------
    ValueError
        The estimator takes no sample weights, or passes them to none of its parts.
    """
    parameters = inspect.signature(estimator.fit).parameters
    if SAMPLE_WEIGHT in parameters:
        return SAMPLE_WEIGHT
    if all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters.values()):
        raise ValueError(
            f"estimator must take sample weights, through which RRM works, but fit of {type(estimator).__name__} has "
            "no argument sample_weight; choose one that has, such as LogisticRegression or RandomForestClassifier"
        )
    if sklearn.get_config()["enable_metadata_routing"]:
        _check_request(estimator)
        return SAMPLE_WEIGHT
    if isinstance(estimator, Pipeline):
        name, last_step = estimator.steps[-1]
        return f"{name}__{weight_argument(last_step)}"
    # GridSearchCV and TransformedTargetRegressor, for example, pass keywords to what they wrap.
    for name in ("estimator", "regressor"):
        wrapped = getattr(estimator, name, None)
        if hasattr(wrapped, "fit"):
            return weight_argument(wrapped)
    return SAMPLE_WEIGHT


def _check_request(estimator: Any) -> None:
    """Raise a ValueError if an estimator passes sample weights to none of its parts, under metadata routing."""
    if not get_routing_for_object(estimator).consumes("fit", [SAMPLE_WEIGHT]):
        raise ValueError(
            f"estimator must take sample weights, through which RRM works, but no part of {type(estimator).__name__} "
            "requests them; with enable_metadata_routing=True, call set_fit_request(sample_weight=True) of its last "
            "step or of the estimator that it wraps"
        )
