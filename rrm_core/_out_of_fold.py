"""The estimate of the share of wrong labels from probabilities that are all out of fold, and the share to prune.

`rrm_sklearn` and the command ``rrm find`` share this module.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ._agreement import Window, count_agreement
from ._learnt_estimate import estimate_if_learnt
from .contamination import ContaminationEstimate

LEARNT = 0.04
"""Cohen's kappa of the predicted and the given labels, of a model that has learnt something. Of two classes with 40 %
wrong labels it is at most 0.2, and 0.05 of a model that is misled by them."""


def estimate_wrong_share(
    labels: npt.NDArray[np.integer], probabilities: npt.NDArray[np.floating]
) -> ContaminationEstimate:
    """Return the estimate of `rrm_core.estimate_contamination`; 0, without an interval, of models that learnt nothing.

    Parameters
    ----------
    labels : array of integers, shape (n,)
        In [0, n_classes).
    probabilities : float64 array of shape (n, n_classes)
        Predicted by models that were not trained on the sample.
    """
    predicted = probabilities.argmax(axis=1)
    is_held_out = np.ones(len(labels), bool)
    agreement = Window([count_agreement(labels, predicted, is_held_out)])
    return estimate_if_learnt(
        labels, predicted, probabilities.max(axis=1), is_held_out, has_learnt=agreement.shows_learning(LEARNT)
    )


def share_to_prune(estimate: ContaminationEstimate) -> float:
    """Return the estimated share, or 0 if its interval reaches 0: pruning clean samples costs accuracy."""
    if estimate.interval is None or estimate.interval[0] == 0:
        return 0.0
    return estimate.contamination
