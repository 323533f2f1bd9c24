"""Logits or probabilities of a model, one column per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .labelled_data import LabelledData, join_names

SUM_TOLERANCE = 1e-2
"""Largest distance of the sum of probabilities from 1: they may be rounded to three digits."""


def finish_probabilities(data: LabelledData, where: str, columns: list[str] | None) -> LabelledData:
    """Match the columns of scores with the classes, and turn the scores into probabilities.

    Parameters
    ----------
    data : LabelledData
        Its samples are scores, shape (n, n_columns), and its classes those of the labels.
    where : str
        The file and the argument, for messages.
    columns : list of str or None
        The names of the columns, if they have any.

    Returns
    -------
    LabelledData
        With the classes of all columns, in their order.

    Raises
    ------
    ValueError
        There are more or fewer columns than classes.
    """
    notes = list(data.notes)
    names = _match_classes(where, columns, data.samples.shape[1], data.classes, notes)
    order = _sort_names(names) if set(names) != set(data.classes) else [names.index(name) for name in data.classes]
    classes = tuple(names[position] for position in order)
    codes = np.array([classes.index(name) for name in data.classes], np.int64)
    without = [name for name in classes if name not in data.classes]
    if without:
        notes.append(f"No sample has these classes, which have scores: {join_names(without)}.")
    return replace(
        data,
        samples=_as_probabilities(data.samples[:, order], notes),
        labels=codes[data.labels],
        classes=classes,
        notes=notes,
    )


def _as_probabilities(scores: npt.NDArray[np.float64], notes: list[str]) -> npt.NDArray[np.float64]:
    """Return probabilities.

    Parameters
    ----------
    scores : np.ndarray of float64, shape (n, n_classes)
        Finite. Probabilities, if all rows lie in [0, 1] and sum to 1, or logits, of which the softmax is taken.
    notes : list of str
        Receives which of the two they are.
    """
    sums = scores.sum(axis=1, keepdims=True)
    if (scores >= 0).all() and (scores <= 1).all() and (np.abs(sums - 1) <= SUM_TOLERANCE).all():
        notes.append("The scores are probabilities: they lie in [0, 1], and those of a sample sum to 1.")
        return np.asarray(scores / sums)
    notes.append("The scores are logits, as they aren't in [0, 1] with sums of 1: their softmax is used.")
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _match_classes(
    where: str, columns: Sequence[str] | None, n_columns: int, classes: Sequence[str], notes: list[str]
) -> list[str]:
    """Return the name of the class of each column of scores.

    Parameters
    ----------
    where : str
        The file and the argument, for messages.
    columns : sequence of str or None
        The names of the columns, if they have any.
    n_columns : int
    classes : sequence of str
        The classes of the labels, in order.
    notes : list of str
        Receives how columns and classes were matched, if not by the columns' names.

    Returns
    -------
    list of str, length n_columns
        The columns' names without a common start and end, if all classes are among them, such as ``p_cat`` for the
        class cat. Otherwise by position: labels that are integers in [0, n_columns) are positions, and other classes
        are in their order. A column may be of a class that no sample has.

    Raises
    ------
    ValueError
        There are more or fewer columns than classes.
    """
    if columns is not None and (names := _find_names(columns, classes)):
        return names
    if n_columns > 1 and all(name.isdecimal() and int(name) < n_columns for name in classes):
        names = [str(position) for position in range(n_columns)]
    elif n_columns == len(classes):
        names = list(classes)
    else:
        raise ValueError(
            f"{where} must have one column for each of the {len(classes)} classes ({join_names(list(classes))}), got "
            f"{n_columns}"
        )
    notes.append(f"The columns of scores are of the classes in this order: {join_names(names, 20)}.")
    return names


def _find_names(columns: Sequence[str], classes: Sequence[str]) -> list[str] | None:
    """Return the columns' names without their common start and end, if all classes are among them."""
    label = max(classes, key=len)
    for column in columns:
        start, found, end = column.rpartition(label)
        if not found or not all(other.startswith(start) and other.endswith(end) for other in columns):
            continue
        names = [other[len(start) : len(other) - len(end)] for other in columns]
        if set(classes) <= set(names) and len(set(names)) == len(names):
            return names
    return None


def _sort_names(names: Sequence[str]) -> list[int]:
    """Return the positions of names in their order: integers by value, others as strings."""
    if all(name.isdecimal() for name in names):
        return sorted(range(len(names)), key=lambda position: int(names[position]))
    return sorted(range(len(names)), key=lambda position: names[position])
