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
    return _minus_log(np.maximum(of_label, SMALLEST_PROBABILITY))


def noise_aware_loss(labels: Integers, probabilities: Floats, transition: Floats) -> Floats:
    """Return how improbable it is that the given label is the true one, if labels are confused by `transition`.

    Parameters
    ----------
    labels : array of integers, shape (n,)
        In [0, n_classes).
    probabilities : float64 array of shape (n, n_classes)
        The probabilities p of the classes.
    transition : float64 array of shape (n_classes, n_classes)
        In row k and column j the probability T[k, j] of the given label j where k is true, above 0.

    Returns
    -------
    float64 array of shape (n,)
        ``-log(p_y T[y, y] / sum_k p_k T[k, y])`` of the given label y, by Bayes' rule; NaN where the probabilities are.
    """
    joint = probabilities * transition[:, labels].T
    of_label = joint[np.arange(len(labels)), labels]
    posterior = np.maximum(of_label, SMALLEST_PROBABILITY) / np.maximum(joint.sum(axis=1), SMALLEST_PROBABILITY)
    return _minus_log(posterior)


def squared_error(targets: Floats, predictions: Floats) -> Floats:
    """Return the square of the difference of each target and its prediction: float64, shape (n,)."""
    return np.square(targets - predictions)


def _minus_log(values: Floats) -> Floats:
    """Return the negative logarithms; of 1 it is 0, not -0, which tables would show."""
    losses: Floats = 0.0 - np.log(values)
    return losses
