"""ReweightSamples: the local samples of a reweight, as compiled loops and operations of torch read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

import rrm_core

from .reweight import total


@dataclass(frozen=True)
class ReweightSamples:
    """The local samples of a reweight, in contiguous tensors without gradients.

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
    excess_thresholds : Tensor, shape (n_local,), or None
        What the excess of each sample is relative to, see `PruningHistory.mean_excess`: `thresholds` with quotas.
    excess_threshold : float
        That of all samples, if they have one; inf if there is none.
    """

    losses: Tensor
    weights: Tensor
    threshold: float
    thresholds: Tensor | None
    pruned: Tensor | None
    members: Tensor | None
    has_nan: bool
    excess_thresholds: Tensor | None
    excess_threshold: float


def check_samples(
    losses: Tensor,
    weights: Tensor,
    plan: rrm_core.Plan | rrm_core.GroupedPlan | None,
    thresholds: Tensor | None,
    pruned: Tensor | None,
    members: Tensor | None,
    n_local: int,
    *,
    has_quotas: bool,
) -> ReweightSamples:
    """Return the samples of a reweight, from the arguments of `PruningHistory.record`.

    With `has_quotas` each group has a contamination of its own.

    Raises
    ------
    ValueError
        A tensor has another shape or dtype, or what says which samples were pruned is missing.
    """
    if plan is None and pruned is None:
        raise ValueError("pruned is missing: give it, or the plan that says which samples were pruned")
    if isinstance(plan, rrm_core.GroupedPlan) and thresholds is None:
        raise ValueError("thresholds are missing: a GroupedPlan has one for each group, give that of each sample")
    losses = _plain("losses", losses, n_local, torch.float32, torch.float64)
    if thresholds is not None:
        thresholds = _plain("thresholds", thresholds, n_local, losses.dtype)
    return ReweightSamples(
        losses=losses,
        weights=_plain("weights", weights, n_local, losses.dtype),
        threshold=plan.threshold if isinstance(plan, rrm_core.Plan) else torch.inf,
        thresholds=thresholds,
        pruned=None if pruned is None else _plain("pruned", pruned, n_local, torch.bool),
        members=None if members is None else _plain("members", members, n_local, torch.bool),
        has_nan=plan is None or members is not None or total(plan.n_nan) > 0,
        excess_thresholds=thresholds if has_quotas else None,
        excess_threshold=_lowest_threshold(plan),
    )


def _lowest_threshold(plan: rrm_core.Plan | rrm_core.GroupedPlan | None) -> float:
    """Return the threshold of a plan; of several, which caps have raised, the lowest; inf without a plan."""
    if plan is None:
        return math.inf
    if isinstance(plan, rrm_core.Plan):
        return plan.threshold
    return float(plan.threshold[plan.sizes > 0].min())


def _plain(name: str, values: Tensor, n: int, *dtypes: torch.dtype) -> Tensor:
    """Return numbers of the samples as a compiled loop reads them: contiguous, without a gradient."""
    if values.shape != (n,) or values.dtype not in dtypes:
        expected = " or ".join(map(str, dtypes))
        raise ValueError(
            f"{name} must have shape ({n},) and dtype {expected}, got {tuple(values.shape)} and {values.dtype}"
        )
    return values.detach().contiguous()
