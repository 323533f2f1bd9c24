"""Given and predicted classes, from the targets and outputs of a classifier."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from rrm_core._agreement import UNKNOWN

from .settings import Floats, Integers
from .warmup import Predictions

REMEDY = "where outputs aren't classes, give contamination and warmup as numbers"

SUM_TOLERANCE = 0.01
"""Rows of numbers in [0, 1] whose sum differs from 1 by less than this are probabilities."""


def read_labels(y: Any, n_classes: int, reason: str) -> Integers:
    """Return the given classes of a batch: int64, shape (batch,).

    Parameters
    ----------
    y : array of shape (batch,) or (batch, 1), or (batch, n_classes) with a probability for each class
        A negative number stands for a sample without a label.
    n_classes : int
        Of the outputs.
    reason : str
        The setting that needs classes, for messages.

    Raises
    ------
    ValueError
        These aren't classes in [0, n_classes).
    """
    if keras.tree.is_nested(y):
        raise ValueError(f"{reason} needs targets of one array, got {type(y).__name__}; {REMEDY}")
    array = np.asarray(y)
    if array.ndim == 2 and array.shape[1] == n_classes and n_classes > 1 and array.dtype.kind in "biuf":
        return array.argmax(axis=1).astype(np.int64)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "biuf" or not (array == np.trunc(array)).all():
        raise ValueError(
            f"{reason} needs targets that are classes, integers of shape (n,) or one column per class, got "
            f"{array.shape} of {array.dtype}; {REMEDY}"
        )
    labels: Integers = array.astype(np.int64)
    if int(labels.max(initial=0)) >= n_classes:
        raise ValueError(
            f"{reason} needs targets in [0, {n_classes}), as outputs have it, got {int(labels.max())}; {REMEDY}"
        )
    return np.maximum(labels, UNKNOWN)


def read_outputs(outputs: Any, reason: str) -> Floats:
    """Return outputs as float64, shape (batch, n_classes), or (batch,) with one number per sample.

    Raises
    ------
    ValueError
        They have another shape.
    """
    if keras.tree.is_nested(outputs):
        raise ValueError(f"{reason} needs a model with one output, got {type(outputs).__name__}; {REMEDY}")
    array = np.asarray(outputs).astype(np.float64)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{reason} needs outputs of shape (batch, n_classes), or (batch, 1) for two classes, got {array.shape}; "
            f"{REMEDY}"
        )
    return array


def number_of_classes(outputs: Floats) -> int:
    """Return the number of classes of outputs: two if there is one number per sample."""
    return 2 if outputs.ndim == 1 else outputs.shape[1]


def are_probabilities(outputs: Floats) -> bool:
    """Return whether outputs look like probabilities rather than logits."""
    rows = outputs.reshape(len(outputs), -1)
    rows = rows[~np.isnan(rows).any(axis=1)]
    is_in_range = bool(((rows >= 0) & (rows <= 1)).all())
    if outputs.ndim == 1:
        return is_in_range
    return is_in_range and bool((np.abs(rows.sum(axis=1) - 1) < SUM_TOLERANCE).all())


def predict_classes(outputs: Floats, *, from_logits: bool) -> Predictions:
    """Return the most probable class of each sample, and its probability.

    Parameters
    ----------
    outputs : float64 array of shape (n, n_classes) or (n,)
        One number per sample is about class 1 against class 0.
    from_logits : bool
        Whether they are logits, or else probabilities.
    """
    is_nan = np.isnan(outputs) if outputs.ndim == 1 else np.isnan(outputs).any(axis=1)
    predicted: npt.NDArray[np.int32]
    if outputs.ndim == 1:
        margin = outputs if from_logits else outputs - 0.5
        predicted = (margin > 0).astype(np.int32)
        confidence = 0.5 + np.abs(margin)
        if from_logits:
            confidence = 1 / (1 + np.exp(-np.abs(margin)))
    else:
        predicted = outputs.argmax(axis=1).astype(np.int32)
        confidence = outputs.max(axis=1)
        if from_logits:
            with np.errstate(invalid="ignore"):
                confidence = 1 / np.exp(outputs - confidence[:, np.newaxis]).sum(axis=1)
    predicted = np.where(is_nan | np.isnan(confidence), UNKNOWN, predicted).astype(np.int32)
    return Predictions(predicted, np.where(predicted == UNKNOWN, 0.0, confidence))
