"""One call with groups: as `rrm_core._engine`, with a threshold for each group."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from ._engine import Request, prepare, prepare_fast
from .arrays.groups import to_groups
from .arrays.kinds import check_same_labels
from .arrays.placement import placement_of
from .backends.registry import GroupingBackend
from .definition.group_numbers import GroupNumbers
from .definition.group_plan import GroupedPlan
from .definition.group_thresholds import GroupedLosses, plan_groups
from .definition.old_weights import InvalidWeights
from .definition.rule import Rule


class GroupedRequest(NamedTuple):
    """The arguments of one call with groups.

    Attributes
    ----------
    request : Request
        All arguments but the groups.
    groups : GroupNumbers
    """

    request: Request
    groups: GroupNumbers

    def plan(self, rule: Rule) -> GroupedPlan:
        """Return the plan for the losses."""
        rule.check_n_groups(self.groups.n_groups)
        losses = self._losses()
        return losses.plan(rule) if hasattr(losses, "plan") else plan_groups(losses, rule, self.request.format)

    def reweight(self, rule: Rule) -> tuple[Any, GroupedPlan]:
        """Return the new weights and the plan."""
        rule.check_n_groups(self.groups.n_groups)
        losses = self._losses()
        if not hasattr(losses, "reweight"):
            plan = plan_groups(losses, rule, self.request.format)
            return self._weights(losses, plan), plan
        plans = []

        def write(memory: Any) -> tuple[Any, InvalidWeights | None]:
            plan, invalid = losses.reweight(rule, self.request.old_weights, self.request.mu, memory)
            plans.append(plan)
            return memory, invalid

        return self.request.write(write), plans[0]

    def apply(self, plan: GroupedPlan, block_start: int | None = None) -> Any:
        """Return the new weights according to a plan that was made before; for the rest see `Request.apply`."""
        self.request.check_plan(plan.n, plan.dtype)
        if self.groups.n_groups > plan.n_groups:
            raise ValueError(
                f"groups must lie in [0, {plan.n_groups:_}), those of the plan, got {self.groups.n_groups:_} groups"
            )
        losses = self._losses()
        n_foreign = losses.count_foreign(plan)
        if n_foreign:
            raise ValueError(
                f"losses contain {n_foreign:_} values that the planned ones can't have contained: below the minimum of "
                "their group, in a group without samples, or NaN in a group without NaN; make a plan for these losses"
            )
        return self._weights(losses, plan, block_start)

    def _losses(self) -> GroupedLosses:
        losses, _, _, _, _, _, _, backend, threads = self.request
        return cast(GroupingBackend, backend).grouped_losses(losses, self.groups, threads)

    def _weights(self, losses: GroupedLosses, plan: GroupedPlan, block_start: int | None = None) -> Any:
        old_weights = self.request.old_weights
        mu = self.request.mu
        return self.request.write(lambda memory: losses.write(plan, old_weights, mu, memory), block_start)


def prepare_groups(
    losses: Any,
    weights: Any | None,
    mu: float,
    out: Any | None,
    backend: str | None,
    threads: int | None,
    groups: Any,
    n_groups: int | None,
    block_start: int | None = None,
) -> GroupedRequest:
    """Return the request for arrays of any framework, except Dask arrays.

    `mu` and `threads` have been checked. `n_groups` is the number of groups, if it follows from another argument. For
    `block_start` see `Request.apply`.

    Raises
    ------
    TypeError, ValueError, ImportError, RuntimeError
        As `rrm_core.reweight`.
    """
    request = prepare_fast(losses, weights, mu, out, backend, threads) if block_start is None else None
    if request is None:
        request = prepare(losses, weights, mu, out, backend, threads, block_start)
    numbers = to_groups(groups, request.losses.shape[0], n_groups)
    check_same_labels("groups", groups, "losses", losses)
    if not numbers.on_host:
        placement = placement_of(numbers.numbers, native=False)
        # The CUDA backend checks the device itself, and takes arrays of other frameworks.
        if placement != request.placement and not (placement.on_cuda and request.placement.on_cuda):
            raise TypeError(
                f"groups must be on the host, or of the framework and on the device of losses, got {placement} for "
                f"losses as {request.placement}; copy groups to the host"
            )
    return GroupedRequest(request, numbers)
