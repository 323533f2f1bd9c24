"""The estimate of the share of wrong labels, and the doubts about it: it is 0 if the model had learnt nothing.

The trainers of this distribution share this module.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ._agreement import UNKNOWN, Window
from .arrays.groups import Groups
from .contamination import ContaminationEstimate, estimate_contamination

NOTHING_LEARNT = "a model that had learnt nothing"
"""What an estimate of 0 rests on if its model predicted held-out labels hardly more often than by chance."""

FEW_HELD_OUT = 150
"""With fewer samples held out, a model that has learnt something may agree with their labels by no more than chance."""

MANY_WRONG = 0.5
"""An estimate above this is doubtful."""


def estimate_if_learnt(
    labels: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    confidence: npt.NDArray[np.floating],
    held_out: npt.NDArray[np.bool_],
    *,
    has_learnt: bool,
    groups: Groups | None = None,
    is_rising: bool = False,
    epoch: int | None = None,
) -> ContaminationEstimate:
    """Return the estimate of `estimate_contamination`; 0, without an interval, of a model that had learnt nothing.

    Parameters
    ----------
    labels, predicted : array of integers, shape (n,)
        Classes, or `UNKNOWN`: only samples with both count.
    confidence : array of float, shape (n,)
    held_out : bool array of shape (n,)
    has_learnt : bool
        Whether predictions agree with the labels of samples held out more often than by chance.
    groups : Groups, optional
    is_rising : bool, default False
    epoch : int, optional
        The epoch or step that the estimate follows.

    Raises
    ------
    ValueError
        No sample that was held out has a label and a prediction.
    """
    is_known = (labels != UNKNOWN) & (predicted != UNKNOWN)
    if not (is_known & held_out).any():
        raise ValueError(
            "the contamination can't be estimated: no sample that was held out has a label and outputs that are "
            "numbers; see whether the model diverged, and whether labels are given as classes"
        )
    estimate = estimate_contamination(
        labels[is_known],
        predicted[is_known],
        confidence[is_known],
        held_out[is_known],
        groups=None if groups is None else Groups(groups.numbers[is_known], groups.n_groups),
        is_rising=is_rising,
    )
    if has_learnt:
        return replace(estimate, epoch=epoch)
    # Its predictions say nothing about the labels: nothing is pruned.
    by_group = None if estimate.by_group is None else (0.0,) * len(estimate.by_group)
    return replace(
        estimate,
        contamination=0.0,
        interval=None,
        by_group=by_group,
        basis=NOTHING_LEARNT,
        epoch=epoch,
    )


def doubt_about(
    estimate: ContaminationEstimate, agreement: Window, *, has_learnt: bool, is_used: bool, end: str, hint: str
) -> str | None:
    """Return a warning of an estimate that can hardly be right; None if it can.

    Parameters
    ----------
    estimate : ContaminationEstimate
    agreement : Window
        Of the predictions for samples held out with their labels, where it was highest.
    has_learnt : bool
    is_used : bool
        Whether the estimate decides how many samples are pruned.
    end : str
        When the predictions were made, such as "when the warm-up ended, after epoch 3".
    hint : str
        What to look at if the model had learnt nothing.
    """
    if not has_learnt:
        consequence = "no sample is pruned" if is_used else "its losses say as little about the labels"
        reason = "it had learnt nothing yet, or the labels are nearly random"
        if estimate.n_held_out < FEW_HELD_OUT:
            reason = f"{reason}, or so few samples can't tell"
        remedy = "give a contamination" if is_used else "give a longer warmup"
        return (
            f"{end}, the model predicted the labels of {estimate.n_held_out:,} samples held out not clearly more often "
            f"than by chance ({agreement.share:.0%} and {agreement.by_chance:.0%}), and {consequence}: {reason}; train "
            f"longer, or {remedy}, and see whether {hint}"
        )
    if is_used and estimate.contamination > MANY_WRONG:
        return (
            f"{estimate.contamination:.0%} of the labels are estimated to be wrong: either most are, or the model "
            "learns something else than the labels; look at estimate.confident_joint(), or give a contamination"
        )
    return None
