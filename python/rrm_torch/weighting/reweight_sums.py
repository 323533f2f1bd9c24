"""Sums over all samples that describe a reweight, exact, so that they do not depend on how ranks share the samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import rrm_core

from ..distributed.exact_sum import FixedPoint
from .reweight_samples import ReweightSamples


class ReweightSums:
    """The sums of the weights, their squares, and, with a finite threshold, the losses up to it.

    Parameters
    ----------
    n_planned : int
        Number of samples that took part in the reweight, on all ranks together.
    n : int
        Number of samples, on all ranks together.
    largest_weight : float
    plan : Plan, GroupedPlan or None
    """

    def __init__(
        self, n_planned: int, n: int, largest_weight: float, plan: rrm_core.Plan | rrm_core.GroupedPlan | None
    ) -> None:
        self._n_planned = n_planned
        largest_cost = math.inf if plan is None else _largest_cost(plan)
        self._weights = FixedPoint(largest_weight, n)
        self._squares = FixedPoint(largest_weight * largest_weight, n)
        self._costs = FixedPoint(largest_cost, n_planned) if largest_cost < math.inf else None

    @property
    def scales(self) -> tuple[float, float, float]:
        """The scale of each sum, see `FixedPoint`; 0 where there is none."""
        return self._weights.scale, self._squares.scale, 0.0 if self._costs is None else self._costs.scale

    def totals(self, samples: ReweightSamples) -> Tensor:
        """Return what ranks add: int64, shape (3,), in multiples."""
        weights = samples.weights
        totals = [self._weights.multiples(weights).sum(), self._squares.multiples(weights * weights).sum()]
        if self._costs is None:
            totals.append(torch.zeros_like(totals[0]))
        else:
            totals.append(self._costs.multiples(_costs(samples)).sum())
        return torch.stack(totals)

    def results(self, totals: list[int]) -> tuple[float, float | None]:
        """Return the effective sample size and the objective, from the totals of all ranks."""
        mass = self._weights.value(totals[0])
        squares = self._squares.value(totals[1])
        effective_sample_size = mass * mass / squares if squares else 0.0
        if self._costs is None:
            return effective_sample_size, None
        return effective_sample_size, self._costs.value(totals[2], self._n_planned)


def _costs(samples: ReweightSamples) -> Tensor:
    """Return the lower of loss and threshold of each sample, the threshold for NaN; 0 if it took no part."""
    losses = samples.losses
    if samples.has_nan:
        losses = losses.nan_to_num(nan=torch.inf, posinf=torch.inf)
    if samples.thresholds is None:
        costs = losses.clamp(max=samples.threshold)
    else:
        costs = torch.minimum(losses, samples.thresholds)
    return costs if samples.members is None else torch.where(samples.members, costs, 0)


def _largest_cost(plan: rrm_core.Plan | rrm_core.GroupedPlan) -> float:
    """Return the largest magnitude of the losses up to the thresholds; inf if one is infinite."""
    if isinstance(plan, rrm_core.Plan):
        return max(abs(plan.loss_min), abs(plan.threshold))
    has_samples = plan.sizes > 0
    return float(max(abs(plan.loss_min[has_samples]).max(), abs(plan.threshold[has_samples]).max()))
