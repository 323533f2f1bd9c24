"""The definition of a reweight with groups, in terms of order statistics and counts by group.

The backends differ in how they find these; the thresholds and target weights follow from them here.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from .float_errors import ignore_float_errors
from .formats import Array, Format
from .group_plan import GroupedPlan
from .old_weights import InvalidWeights
from .plan import NonFiniteCounts, check_losses
from .rule import Rule


class GroupStatistics(NamedTuple):
    """A loss of each group, and the number of the group's losses below it and equal to it: shape (n_groups,) each.

    The loss is a float64 number, and -0.0 is 0.0; NaN for a group that has none.
    """

    value: Array
    n_below: Array
    n_equal: Array


class GroupScan(NamedTuple):
    """What one pass over the losses finds.

    Attributes
    ----------
    non_finite : NonFiniteCounts
        Of all losses. The number of +inf is not needed.
    n_nan : int64 array of shape (n_groups,)
    minimum : GroupStatistics
        The smallest loss of each group; +inf if all are NaN, and NaN for an empty group.
    ranked : GroupStatistics
        The loss of each group with a rank within the group, from 1; NaN for rank 0. NaN have no rank: the largest other
        loss stands for those beyond it.
    """

    non_finite: NonFiniteCounts
    n_nan: Array
    minimum: GroupStatistics
    ranked: GroupStatistics


class OrderStatistics(Protocol):
    """The losses with given ranks, after a scan."""

    def smallest(self, ranks: Array) -> GroupStatistics:
        """Return the losses with other ranks than in the scan."""

    def smallest_of_all(self, rank: int) -> float:
        """Return the loss with this rank among all, or the largest that is not NaN."""

    def count(self, values: Array) -> GroupStatistics:
        """Return these losses, of which there need not be any, with their counts; NaN for an empty group."""


class GroupedLosses(OrderStatistics, Protocol):
    """The losses of one call by group, as a backend sees them."""

    def sizes(self) -> Array:
        """Return the number of samples of each group: int64, shape (n_groups,)."""

    def scan(self, ranks: Array) -> GroupScan:
        """Return minima, counts of NaN and -inf, and the losses with these ranks: int64, shape (n_groups,).

        If there is -inf, or a group without a finite loss, the ranked losses have no meaning.
        """

    def write(
        self, plan: GroupedPlan, old_weights: Any | None, mu: float, out: Any
    ) -> tuple[Any, InvalidWeights | None]:
        """Return the new weights and the invalid old ones; see `Backend.apply`, also for `out`."""

    def count_foreign(self, plan: GroupedPlan) -> int:
        """Return how many losses lie below the minimum of their group in the plan, or in a group that was empty.

        Or are NaN though the planned losses of their group had no NaN.
        """


class EmptiedGroupError(ValueError):
    """A group that keeps its mass would have no sample left."""


def plan_groups(losses: GroupedLosses, rule: Rule, format: Format) -> GroupedPlan:
    """Return the plan for losses with groups.

    Raises
    ------
    ValueError
        The losses cannot be reweighted.
    """
    sizes = losses.sizes()
    ranks = np.zeros_like(sizes) if rule.group_shares is None else rule.group_ranks(sizes)
    scan = losses.scan(ranks)
    check_scan(rule, sizes, scan)
    thresholds = find_group_thresholds(losses, rule, format, sizes, scan)
    return make_grouped_plan(rule, format, sizes, scan, thresholds)


def check_scan(rule: Rule, sizes: Array, scan: GroupScan) -> None:
    """Raise a ValueError if the scanned losses cannot be reweighted."""
    check_losses(rule, int(sizes.sum()), scan.non_finite)
    check_groups(sizes, scan.minimum.value, scan.n_nan)


class GroupThresholds(NamedTuple):
    """The thresholds of pruning and of the recipients; see `GroupedPlan`."""

    threshold: GroupStatistics
    recipients: GroupStatistics


@ignore_float_errors
def find_group_thresholds(
    losses: OrderStatistics, rule: Rule, format: Format, sizes: Array, scan: GroupScan
) -> GroupThresholds:
    """Return the thresholds of valid losses. Their values do not depend on any counts, but for the number of losses.

    Parameters
    ----------
    losses : OrderStatistics
    rule : Rule
    format : Format
        Type of the losses.
    sizes : int64 array of shape (n_groups,)
        Number of samples of each group.
    scan : GroupScan
        With the ranks `Rule.group_ranks`, if the rule has shares of groups.
    """
    threshold = _find_thresholds(losses, rule, format, sizes, scan)
    return GroupThresholds(threshold, _find_recipients(losses, rule, sizes, scan.minimum, threshold))


@ignore_float_errors
def make_grouped_plan(
    rule: Rule, format: Format, sizes: Array, scan: GroupScan, thresholds: GroupThresholds
) -> GroupedPlan:
    """Return the plan with these thresholds; for the parameters see `find_group_thresholds`.

    Raises
    ------
    EmptiedGroupError
        A group that keeps its mass would have no sample left.
    """
    threshold, recipients = thresholds
    n_pruned = sizes - threshold.n_below - threshold.n_equal
    n_recipients = recipients.n_below + recipients.n_equal
    check_mass(rule, sizes, n_pruned)
    removed = _find_removed(rule, sizes, n_pruned, threshold.n_equal)
    return GroupedPlan(
        n=int(sizes.sum()),
        dtype=format.name,
        rule=rule,
        sizes=sizes,
        loss_min=scan.minimum.value,
        threshold=threshold.value,
        recipient_threshold=recipients.value,
        n_pruned=n_pruned,
        n_tied=threshold.n_equal,
        n_recipients=n_recipients,
        n_nan=scan.n_nan,
        removed=removed.by_group,
        levels=group_levels(rule, sizes, n_recipients, removed),
    )


def check_groups(sizes: Array, loss_min: Array, n_nan: Array) -> None:
    """Raise a ValueError if a group that has samples has no finite loss."""
    has_none = (sizes > 0) & (loss_min == math.inf)
    if has_none.any():
        group = int(has_none.argmax())
        n_group_nan = int(n_nan[group])
        raise ValueError(
            f"losses contain no finite value in {int(has_none.sum()):_} of {len(sizes):_} groups: in group {group}, "
            f"{int(sizes[group]) - n_group_nan:_} of {int(sizes[group]):_} are +inf and {n_group_nan:_} NaN"
        )


def check_mass(rule: Rule, sizes: Array, n_pruned: Array) -> None:
    """Raise an EmptiedGroupError if a group that keeps its mass has no sample left."""
    if rule.mass == "all" or rule.redistribute == "drop":
        return
    is_empty = (sizes > 0) & (n_pruned == sizes)
    if is_empty.any():
        group = int(is_empty.argmax())
        raise EmptiedGroupError(
            f"mass='group' needs a kept sample in each group, but all {int(sizes[group]):_} of group {group} lie above "
            "the threshold of all; pass cap, or one contamination per group"
        )


def _find_thresholds(
    losses: OrderStatistics, rule: Rule, format: Format, sizes: Array, scan: GroupScan
) -> GroupStatistics:
    if rule.gamma is not None:
        base = scan.minimum.value
        if rule.mass == "all":
            base = np.where(sizes > 0, np.nanmin(base), np.nan)
        return losses.count(format.round_down_all(base + rule.gamma))
    if rule.group_shares is None:
        return losses.count(np.where(sizes > 0, _threshold_of_all(losses, rule, sizes), np.nan))
    if rule.cap is None:
        return scan.ranked
    return losses.count(np.maximum(scan.ranked.value, _threshold_of_all(losses, rule, sizes)))


def _threshold_of_all(losses: OrderStatistics, rule: Rule, sizes: Array) -> float:
    n = int(sizes.sum())
    return losses.smallest_of_all(n - rule.quota(n))


def _find_recipients(
    losses: OrderStatistics, rule: Rule, sizes: Array, minimum: GroupStatistics, threshold: GroupStatistics
) -> GroupStatistics:
    """Return the recipients' thresholds, never above the groups' thresholds; -inf if there are no recipients."""
    if rule.redistribute == "kept":
        return threshold
    if rule.redistribute == "drop":
        return _no_recipients(sizes)
    if rule.mass == "group":
        own = minimum if rule.redistribute == "argmin" else losses.smallest(rule.recipient_ranks(sizes))
        is_capped = ~(own.value < threshold.value)
        return GroupStatistics(*(np.where(is_capped, t, r) for t, r in zip(threshold, own, strict=True)))
    n = int(sizes.sum())
    if rule.redistribute == "argmin":
        smallest = float(np.nanmin(minimum.value))
    else:
        smallest = losses.smallest_of_all(rule.recipient_rank(n))
    return losses.count(np.minimum(threshold.value, smallest))


def _no_recipients(sizes: Array) -> GroupStatistics:
    none = np.zeros_like(sizes)
    return GroupStatistics(np.full(sizes.shape, -math.inf), none, none)


class Removed(NamedTuple):
    """The mass that is taken from pruned and tied samples.

    Attributes
    ----------
    by_group : float64 array of shape (n_groups,)
        In samples.
    total : int
        The same of all groups.
    tied_share : float64 array of shape (n_groups,)
        The share of its weight that a tied sample keeps.
    """

    by_group: Array
    total: int
    tied_share: Array


def _find_removed(rule: Rule, sizes: Array, n_pruned: Array, n_tied: Array) -> Removed:
    """Return the mass that is removed.

    Tied samples at one threshold of all groups keep the same share; those at the threshold of a group with a quota of
    its own, a share of their own.
    """
    total_pruned = int(n_pruned.sum())
    if rule.ties == "keep":
        return Removed(n_pruned.astype(np.float64), total_pruned, np.ones(sizes.shape))
    if rule.group_shares is None:
        total_tied = int(n_tied.sum())
        total = max(rule.quota(int(sizes.sum())), total_pruned)
        n_shared = total - total_pruned
        by_group = n_pruned + n_shared * n_tied.astype(np.float64) / total_tied
        return Removed(by_group, total, np.full(sizes.shape, (total_tied - n_shared) / total_tied))
    removed = np.maximum(sizes - rule.group_ranks(sizes), n_pruned)
    share = np.where(n_tied > 0, (n_tied - (removed - n_pruned)) / n_tied, 1.0)
    return Removed(removed.astype(np.float64), int(removed.sum()), share)


@ignore_float_errors
def group_levels(rule: Rule, sizes: Array, n_recipients: Array, removed: Removed) -> Array:
    """Return the target weights of each group: float64, shape (n_groups, 5). With one group they are those of `levels`.

    With ``mass="group"`` a group keeps what it loses; otherwise all recipients share the mass of all groups.

    Parameters
    ----------
    rule : Rule
    sizes, n_recipients : int64 array of shape (n_groups,)
    removed : Removed
    """
    mass: Any = removed.by_group
    if rule.mass == "all":
        # One number for all groups.
        sizes = sizes.sum()
        n_recipients = n_recipients.sum()
        mass = removed.total
    share = removed.tied_share
    scale = np.ones_like(share)
    if rule.redistribute == "kept":
        scale *= np.where(sizes > 0, sizes / (sizes - mass), 1.0)
    growth = np.zeros_like(share)
    if rule.redistribute not in ("kept", "drop"):
        growth += np.where(n_recipients > 0, mass / n_recipients, 0.0)
    tied = share * scale
    return np.stack([np.zeros_like(share), tied, scale, tied + growth, scale + growth], axis=1)
