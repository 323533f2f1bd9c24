"""What a search for wrong labels found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_core._learnt_estimate import NOTHING_LEARNT


@dataclass(frozen=True, eq=False)
class Result:
    """The samples in the order of suspicion, and the estimate.

    Attributes
    ----------
    issues : dict of str to array, shape (n,)
        The table of `rrm_review.make_issues`, the most suspicious sample first, with ``confidence``: the predicted
        probability of the predicted label.
    estimate : rrm_core.ContaminationEstimate or None
        None if the share of wrong labels was given.
    contamination : float
        The share of the samples that was pruned.
    pruned : bool array of shape (n_reweights, n), or None
        The samples that each reweight pruned, in the order of the samples; None if there was no training.
    model : str
        What predicted the labels, in words.
    is_complete : bool
        False if the search was interrupted.
    notes : tuple of str
        What a user should know about the search, one sentence each.
    """

    issues: dict[str, npt.NDArray[Any]]
    estimate: rrm_core.ContaminationEstimate | None
    contamination: float
    pruned: npt.NDArray[np.bool_] | None
    model: str
    is_complete: bool
    notes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.issues["index"])

    @property
    def n_flagged(self) -> int:
        """Number of label issues."""
        return int(np.count_nonzero(self.issues["is_label_issue"]))


def flag_by_estimate(result: Result) -> Result:
    """Return a result in which the estimated share is flagged, if the training pruned none.

    RRM prunes none where the interval of the estimate reaches 0, since pruning correct labels costs accuracy. A person
    who looks at the most suspicious samples loses nothing.
    """
    estimate = result.estimate
    if estimate is None or result.n_flagged or estimate.basis == NOTHING_LEARNT:
        return result
    # The rows are in the order of suspicion.
    is_flagged = np.arange(result.n) < math.floor(estimate.contamination * result.n)
    return replace(result, issues=result.issues | {"is_label_issue": is_flagged})


def with_confidence(issues: dict[str, npt.NDArray[Any]], confidence: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Return a table with a column of the predicted probabilities, which are given in the order of the samples.

    The column ``group`` is left out: the groups of a search are the given labels.
    """
    table: dict[str, npt.NDArray[Any]] = {}
    for name, column in issues.items():
        if name != "group":
            table[name] = column
        if name == "predicted_label":
            table["confidence"] = confidence[issues["index"]].astype(np.float32)
    return table
