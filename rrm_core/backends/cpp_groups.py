"""The compiled CPU backend for losses with groups.

The losses are sorted by group, in the order that `GroupNumbers` keeps, and the kernels for losses without groups find
the order statistics of each. The new weights are computed in the order of the samples.
"""

from __future__ import annotations

from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np

from ..definition.formats import BY_STORAGE, PLAIN, Array
from ..definition.group_numbers import GroupNumbers, GroupOrder
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import GroupScan, GroupStatistics
from ..definition.old_weights import InvalidWeights
from ..definition.plan import NonFiniteCounts


class GroupedLosses:
    """See `rrm_core.definition.group_thresholds.GroupedLosses`.

    Parameters
    ----------
    extension : module
        `rrm_core._cpu`.
    losses : array of shape (n,)
        Contiguous.
    groups : GroupNumbers
        On the host.
    threads : int
    """

    def __init__(self, extension: ModuleType, losses: Array, groups: GroupNumbers, threads: int) -> None:
        self._extension = extension
        self._losses = losses
        self._code = BY_STORAGE[losses.dtype].code
        self._groups = groups
        self._threads = threads

    def sizes(self) -> Array:
        """Return the number of samples of each group."""
        return np.diff(self._order.starts)

    def scan(self, ranks: Array) -> GroupScan:
        """Return minima, counts of NaN and -inf, and the losses with these ranks."""
        minimum = self._empty_statistics()
        minimum.n_below.fill(0)
        ranked = self._empty_statistics()
        n_of_group_nan = np.empty(self._groups.n_groups, np.int64)
        n_nan, n_neg_inf = self._sorted.scan(ranks, minimum.value, minimum.n_equal, n_of_group_nan, *ranked)
        first_nan = first_neg_inf = -1
        if n_nan or n_neg_inf:
            first_nan, first_neg_inf = self._extension.find_non_finite(self._losses, self._code)
        return GroupScan(
            NonFiniteCounts(n_nan, first_nan, n_neg_inf, first_neg_inf, 0), n_of_group_nan, minimum, ranked
        )

    def smallest(self, ranks: Array) -> GroupStatistics:
        """Return the loss of each group with this rank within the group; NaN for rank 0."""
        result = self._empty_statistics()
        unused = self._empty_statistics()
        self._sorted.scan(ranks, unused.value, unused.n_equal, np.empty_like(ranks), *result)
        return result

    def smallest_of_all(self, rank: int) -> float:
        """Return the loss with this rank among all."""
        rule = self._extension.Rule(rank, 0.0, 0, 0, "drop", True)
        _, outcome, _ = self._extension.reweight(self._losses, self._code, rule, 1.0, None, None, self._threads)
        return float(outcome[2])

    def count(self, values: Array) -> GroupStatistics:
        """Return these losses with their counts."""
        result = self._empty_statistics()
        result.value[...] = values
        self._sorted.count(*result)
        return result

    def write(
        self, plan: GroupedPlan, old_weights: Array | None, mu: float, out: Array
    ) -> tuple[Array, InvalidWeights | None]:
        """Write the new weights to `out`; return it and the invalid old weights."""
        new = out if out.flags.num & PLAIN == PLAIN else np.empty(out.shape, out.dtype)
        invalid = self._extension.write_groups(
            self._losses,
            self._code,
            self._groups.numbers,
            plan.threshold,
            plan.recipient_threshold,
            plan.levels,
            mu,
            None if old_weights is None else np.require(old_weights, requirements=["C", "A"]),
            new,
            self._threads,
        )
        if new is not out:
            out[...] = new
        return out, None if invalid is None else InvalidWeights(*invalid)

    def count_foreign(self, plan: GroupedPlan) -> int:
        """Return how many losses the planned ones can't have contained."""
        return int(
            self._extension.count_foreign_in_groups(
                self._losses, self._code, self._groups.numbers, plan.loss_min, plan.n_nan, self._threads
            )
        )

    @cached_property
    def _order(self) -> GroupOrder:
        order = self._groups.prepared.get("order")
        if order is None:
            order = GroupOrder.empty(len(self._groups), self._groups.n_groups)
            self._extension.sort_by_group(self._groups.numbers, *order)
            self._groups.prepared["order"] = order
        return order

    @cached_property
    def _sorted(self) -> Any:
        return self._extension.GroupedLosses(self._losses, self._code, *self._order, self._threads)

    def _empty_statistics(self) -> GroupStatistics:
        n_groups = self._groups.n_groups
        return GroupStatistics(np.empty(n_groups), np.empty(n_groups, np.int64), np.empty(n_groups, np.int64))
