"""ReweightSamples: the local samples of a reweight, as the passes over them get them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class ReweightSamples:
    """The local samples of a reweight.

    Attributes
    ----------
    losses : Tensor of float32 or float64, shape (n_local,)
        The losses, or the numbers in their place, that decided.
    weights : Tensor, shape (n_local,)
        After smoothing, of the dtype of `losses`.
    threshold : float
        That of all samples; inf if there is none.
    thresholds : Tensor, shape (n_local,), or None
        That of each sample's group, of the dtype of `losses`.
    pruned : Tensor of bool, shape (n_local,), or None
        The pruned samples; None for those whose loss is above the threshold, or NaN.
    members : Tensor of bool, shape (n_local,), or None
        The samples that took part; None for all.
    has_nan : bool
        Whether a loss may be NaN.
    """

    losses: Tensor
    weights: Tensor
    threshold: float
    thresholds: Tensor | None
    pruned: Tensor | None
    members: Tensor | None
    has_nan: bool
