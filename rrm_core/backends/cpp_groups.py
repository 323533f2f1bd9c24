"""The compiled CPU backend for losses with groups.

The kernels have the definition of `rrm_core.definition.group_thresholds` themselves: for a few groups, its operations
on small arrays would take as long as a pass over a million losses.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NoReturn

import numpy as np

from ..definition.formats import BY_STORAGE, PLAIN, Array
from ..definition.group_numbers import GroupNumbers, GroupOrder
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import check_groups, check_mass
from ..definition.old_weights import InvalidWeights
from ..definition.plan import NonFiniteCounts, check_losses
from ..definition.rule import Rule

# `GroupError` in csrc/cpu/grouped_reweight.h.
NO_ERROR, NOT_FINITE, NO_FINITE_LOSS, NO_KEPT_SAMPLE, NOT_FOUND = range(5)

_NONE = np.empty(0, np.int64)


class GroupedLosses:
    """The losses of one call, and their groups.

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
        self._format = BY_STORAGE[losses.dtype]
        self._groups = groups
        self._threads = threads

    def plan(self, rule: Rule) -> GroupedPlan:
        """Return the plan."""
        return self._reweight(rule, None, 1.0, None)[0]

    def reweight(
        self, rule: Rule, old_weights: Array | None, mu: float, out: Array
    ) -> tuple[GroupedPlan, InvalidWeights | None]:
        """Write the new weights to `out`; return the plan and the invalid old weights."""
        new = out if out.flags.num & PLAIN == PLAIN else np.empty(out.shape, out.dtype)
        plan, invalid = self._reweight(rule, old_weights, mu, new)
        if new is not out:
            out[...] = new
        return plan, invalid

    def write(
        self, plan: GroupedPlan, old_weights: Array | None, mu: float, out: Array
    ) -> tuple[Array, InvalidWeights | None]:
        """Write the new weights to `out`; return it and the invalid old weights."""
        new = out if out.flags.num & PLAIN == PLAIN else np.empty(out.shape, out.dtype)
        invalid = self._extension.write_groups(
            self._losses,
            self._format.code,
            self._groups.numbers,
            plan.threshold,
            plan.recipient_threshold,
            plan.levels,
            mu,
            _plain(old_weights),
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
                self._losses, self._format.code, self._groups.numbers, plan.loss_min, plan.n_nan, self._threads
            )
        )

    def _reweight(
        self, rule: Rule, old_weights: Array | None, mu: float, out: Array | None
    ) -> tuple[GroupedPlan, InvalidWeights | None]:
        sizes = self._sizes()
        kernel_rule = self._kernel_rule(rule, sizes)
        n_groups = self._groups.n_groups
        thresholds = np.empty((4, n_groups))
        counts = np.empty((4, n_groups), np.int64)
        levels = np.empty((n_groups, 5))
        arguments = kernel_rule, mu, _plain(old_weights), out, thresholds, counts, levels, self._threads
        code = self._format.code
        error = NOT_FOUND
        if self._extension.can_look_up(code, len(self._losses), n_groups):
            numbers = self._bytes()
            error, invalid = self._extension.reweight_few_groups(self._losses, code, numbers, sizes, *arguments)
        if error == NOT_FOUND:
            numbers = self._groups.numbers
            error, invalid = self._extension.reweight_groups(self._losses, code, numbers, *self._order(), *arguments)
        loss_min, threshold, recipient_threshold, removed = thresholds
        n_pruned, n_tied, n_recipients, n_nan = counts
        if error != NO_ERROR:
            self._raise_error(error, rule, sizes, loss_min, n_pruned, n_nan)
        plan = GroupedPlan(
            n=len(self._losses),
            dtype=self._format.name,
            rule=rule,
            sizes=sizes,
            loss_min=loss_min,
            threshold=threshold,
            recipient_threshold=recipient_threshold,
            n_pruned=n_pruned,
            n_tied=n_tied,
            n_recipients=n_recipients,
            n_nan=n_nan,
            removed=removed,
            levels=levels,
        )
        return plan, None if invalid is None else InvalidWeights(*invalid)

    def _raise_error(
        self, error: int, rule: Rule, sizes: Array, loss_min: Array, n_pruned: Array, n_nan: Array
    ) -> NoReturn:
        n = len(self._losses)
        if error == NOT_FINITE:
            n_all_nan, first_nan, n_neg_inf, first_neg_inf = self._extension.find_non_finite(
                self._losses, self._format.code
            )
            check_losses(rule, n, NonFiniteCounts(n_all_nan, first_nan, n_neg_inf, first_neg_inf, 0))
        elif error == NO_FINITE_LOSS:
            # The error without groups, if all are NaN.
            check_losses(rule, n, NonFiniteCounts(int(n_nan.sum()), 0, 0, 0, 0))
            check_groups(sizes, loss_min, n_nan)
        else:
            check_mass(rule, sizes, n_pruned)
        raise RuntimeError("losses changed while they were read; don't write to them from another thread")

    def _sizes(self) -> Array:
        sizes: Array | None = self._groups.prepared.get("sizes")
        if sizes is None:  # NumPy's bincount takes longer than a reweight
            sizes = np.empty(self._groups.n_groups, np.int64)
            self._extension.count_samples(self._groups.numbers, sizes)
            sizes.flags.writeable = False
            self._groups.prepared["sizes"] = sizes
        return sizes

    def _order(self) -> GroupOrder:
        order = self._groups.prepared.get("order")
        if order is None:
            order = GroupOrder.empty(len(self._groups), self._groups.n_groups)
            self._extension.sort_by_group(self._groups.numbers, *order)
            self._groups.prepared["order"] = order
        return order

    def _bytes(self) -> Array:
        numbers: Array | None = self._groups.prepared.get("bytes")
        if numbers is None:
            numbers = self._groups.numbers.astype(np.uint8)
            self._groups.prepared["bytes"] = numbers
        return numbers

    def _kernel_rule(self, rule: Rule, sizes: Array) -> Any:
        """Return the rule for these groups as an object of the extension; the last one is kept."""
        last, kernel_rule = self._groups.prepared.get("cpp rule", (None, None))
        if last is rule:
            return kernel_rule
        n = len(self._losses)
        ranks = _NONE if rule.group_shares is None else rule.group_ranks(sizes)
        has_rank_of_all = isinstance(rule.contamination, float)
        quota_of_all = rule.quota(n) if has_rank_of_all else 0
        recipient_ranks = _NONE
        recipient_rank_of_all = 0
        if isinstance(rule.redistribute, float):
            if rule.mass == "group":
                recipient_ranks = rule.recipient_ranks(sizes)
            else:
                recipient_rank_of_all = rule.recipient_rank(n)
        kernel_rule = self._extension.GroupRule(
            ranks,
            n - quota_of_all if has_rank_of_all else 0,
            rule.gamma or 0.0,
            recipient_ranks,
            recipient_rank_of_all,
            rule.kernel_redistribute,
            rule.ties == "share",
            quota_of_all,
            rule.mass == "group",
            rule.nan == "prune",
        )
        self._groups.prepared["cpp rule"] = rule, kernel_rule
        return kernel_rule


def _plain(array: Array | None) -> Array | None:
    return None if array is None else np.require(array, requirements=["C", "A"])
