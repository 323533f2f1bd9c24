"""The table of label issues of a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rrm_review import make_issues

from .losses import Floats, Integers
from .rounds import Rounds


def make_class_issues(rounds: Rounds, codes: Integers, classes: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return the table of `rrm_review.make_issues`, in the order of the samples.

    Parameters
    ----------
    rounds : Rounds
    codes : array of integers, shape (n,)
        The positions of the given labels in `classes`.
    classes : array of shape (n_classes,)
        Labels that are neither integers nor strings become strings.
    """
    names = classes
    if classes.dtype.kind not in "iuU":
        names = np.array([str(name) for name in classes.tolist()])
    predicted = rounds.predictions.argmax(axis=1)
    return make_issues(**_columns(rounds), labels=names[codes], predictions=names[predicted], order="index")


def make_number_issues(rounds: Rounds, targets: Floats) -> dict[str, npt.NDArray[Any]]:
    """Return the table of `rrm_review.make_issues`, in the order of the samples, with targets and predictions."""
    issues = make_issues(**_columns(rounds), order="index")
    table: dict[str, npt.NDArray[Any]] = {}
    for name, column in issues.items():
        table[name] = column
        if name == "label_quality":
            table["given_label"] = targets
            table["predicted_label"] = rounds.predictions
    return table


def _columns(rounds: Rounds) -> dict[str, Any]:
    return {
        "is_label_issue": rounds.is_pruned,
        "share_pruned": rounds.share_pruned,
        # In each round, the threshold that a loss exceeds is the same for all samples: both sort them alike.
        "mean_excess": rounds.mean_loss,
        "sample_weight": rounds.weights,
        "loss": rounds.losses,
    }
