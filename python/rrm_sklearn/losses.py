"""Losses per sample, from predictions of models that were not trained on it."""

from __future__ import annotations

from typing import TypeAlias

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
