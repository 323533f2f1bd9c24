"""How well a method lists the wrong labels, where these are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOP = 100
"""Samples that somebody might look at first."""


@dataclass(frozen=True, eq=False)
class Listing:
    """What a method says about the labels of a training set.

    Attributes
    ----------
    scores : np.ndarray of float64, shape (n,)
        The higher, the more suspicious the label. Only their order matters.
    listed : np.ndarray of bool, shape (n,), or None
        The labels that the method itself takes to be wrong; None if it only sorts.
    """

    scores: npt.NDArray[np.float64]
    listed: npt.NDArray[np.bool_] | None = None


def evaluate_listing(listing: Listing, wrong: npt.NDArray[np.bool_]) -> dict[str, float | int | None]:
    """Return the metrics of a listing.

    Parameters
    ----------
    listing : Listing
    wrong : np.ndarray of bool, shape (n,)
        The labels that are wrong.

    Returns
    -------
    dict
        ``average_precision``, ``precision_at_100`` and ``precision_at_true_number`` of the order; ``n_listed``,
        ``precision``, ``recall`` and ``f1`` of the labels listed. None where they are undefined: all but ``n_listed``
        if no label is wrong, the last four if the method only sorts, and ``precision`` if it lists nothing.

    Raises
    ------
    ValueError
        The shapes differ, or scikit-learn isn't installed.
    """
    if listing.scores.shape != wrong.shape:
        raise ValueError(
            f"listing.scores must have one score for each of {len(wrong)} labels, got shape {listing.scores.shape}"
        )
    result: dict[str, float | int | None] = dict.fromkeys(
        ("average_precision", "precision_at_100", "precision_at_true_number", "n_listed", "precision", "recall", "f1")
    )
    n_wrong = int(wrong.sum())
    if n_wrong:
        result["average_precision"] = average_precision(listing.scores, wrong)
        result["precision_at_100"] = precision_at(listing.scores, wrong, TOP)
        result["precision_at_true_number"] = precision_at(listing.scores, wrong, n_wrong)
    if listing.listed is not None:
        result["n_listed"] = int(listing.listed.sum())
        if n_wrong:
            result |= _list_metrics(listing.listed, wrong)
    return result


def average_precision(scores: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_]) -> float:
    """Return the mean, over the wrong labels, of the precision among the labels at least as suspicious.

    Raises
    ------
    ValueError
        scikit-learn isn't installed, or a score is NaN.
    """
    try:
        from sklearn.metrics import average_precision_score
    except ModuleNotFoundError as error:
        raise ValueError(
            f"the average precision can't be computed here: there is no module {error.name}; pip install scikit-learn"
        ) from error
    return float(average_precision_score(wrong, scores))


def precision_at(scores: npt.NDArray[np.float64], wrong: npt.NDArray[np.bool_], count: int) -> float:
    """Return the expected share of wrong labels among the `count` highest scores, or among all if there are fewer.

    Of labels with the same score at the boundary, it is the expectation over their random orders.
    """
    count = min(count, len(scores))
    boundary = np.partition(scores, -count)[-count]
    above = scores > boundary
    n_tied = count - int(above.sum())
    return float((wrong[above].sum() + n_tied * wrong[scores == boundary].mean()) / count)


def _list_metrics(listed: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    n_found = int((listed & wrong).sum())
    n_listed = int(listed.sum())
    n_wrong = int(wrong.sum())
    precision = None
    if n_listed:
        precision = n_found / n_listed
    return {"precision": precision, "recall": n_found / n_wrong, "f1": 2 * n_found / (n_listed + n_wrong)}
