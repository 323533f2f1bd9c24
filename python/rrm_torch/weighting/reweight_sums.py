"""Sums over all samples that describe a reweight, exact, so that they do not depend on how ranks share the samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

import rrm_core

from ..distributed.exact_sum import ExactSum


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
    device : torch.device
        Of the samples.
    """

    def __init__(
        self,
        n_planned: int,
        n: int,
        largest_weight: float,
        plan: rrm_core.Plan | rrm_core.GroupedPlan | None,
        device: torch.device,
    ) -> None:
        self.plan = plan
        self._n_planned = n_planned
        largest_cost = math.inf if plan is None else _largest_cost(plan)
        self._has_cost = largest_cost < math.inf
        self._mass = ExactSum(largest_weight, n, device)
        self._squares = ExactSum(largest_weight * largest_weight, n, device)
        self._cost = ExactSum(largest_cost if self._has_cost else 0.0, n_planned, device)

    def add(self, losses: Tensor, weights: Tensor, thresholds: Tensor | None = None) -> None:
        """Add a block of samples.

        Parameters
        ----------
        losses : Tensor, shape (m,)
            Of the samples that took part.
        weights : Tensor
            Of all samples of the block.
        thresholds : Tensor, shape (m,), optional
            As `losses`, where groups have their own; by default that of the plan.
        """
        self._mass.add(weights)
        self._squares.add(weights * weights)
        if not self._has_cost:
            return
        if thresholds is not None:
            self._cost.add(torch.minimum(losses, thresholds))
        else:
            assert isinstance(self.plan, rrm_core.Plan)
            self._cost.add(losses.clamp(max=self.plan.threshold))

    def totals(self) -> Tensor:
        """Return what ranks sum: int64, shape (3,)."""
        return torch.stack([self._mass.total, self._squares.total, self._cost.total])

    def results(self, totals: list[int]) -> tuple[float, float | None]:
        """Return the effective sample size and the objective, from the totals of all ranks."""
        mass = self._mass.value(totals[0])
        squares = self._squares.value(totals[1])
        effective_sample_size = mass * mass / squares if squares else 0.0
        if not self._has_cost:
            return effective_sample_size, None
        return effective_sample_size, self._cost.value(totals[2], self._n_planned)


def _largest_cost(plan: rrm_core.Plan | rrm_core.GroupedPlan) -> float:
    """Return the largest magnitude of the losses up to the thresholds; inf if one is infinite."""
    if isinstance(plan, rrm_core.Plan):
        return max(abs(plan.loss_min), abs(plan.threshold))
    has_samples = plan.sizes > 0
    return float(max(abs(plan.loss_min[has_samples]).max(), abs(plan.threshold[has_samples]).max()))
