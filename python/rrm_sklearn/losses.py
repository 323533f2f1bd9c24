"""Losses per sample, from predictions of models that were not trained on it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

SMALLEST_PROBABILITY = float(np.finfo(np.float64).tiny)
"""A probability of 0 counts as this one, so that every loss is finite."""


def log_loss(labels: Integers, probabilities: Floats) -> Floats:
    """Return minus the logarithm of the probability of each given label.

    Parameters
    ----------
    labels : array of integers, shape (n,)
        In [0, n_classes).
    probabilities : float64 array of shape (n, n_classes)

    Returns
    -------
    float64 array of shape (n,)
        NaN where the probabilities are.
    """
    of_label = probabilities[np.arange(len(labels)), labels]
    losses: Floats = -np.log(np.maximum(of_label, SMALLEST_PROBABILITY))
    return losses


def squared_error(targets: Floats, predictions: Floats) -> Floats:
    """Return the square of the difference of each target and its prediction: float64, shape (n,)."""
    return np.square(targets - predictions)


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
