"""Plan: the thresholds, counts and target weights of a reweight; and the functions that derive them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .formats import Format
from .rule import Redistribute, Rule


class Levels(NamedTuple):
    """The target weights, by the position of a sample's loss relative to the two thresholds.

    Attributes
    ----------
    pruned : float
        Loss above the threshold.
    tied : float
        Loss equal to the threshold, no recipient.
    kept : float
        Loss below the threshold, no recipient.
    tied_recipient : float
        Loss equal to the threshold, recipient.
    kept_recipient : float
        Loss below the threshold, recipient.
    """

    pruned: float
    tied: float
    kept: float
    tied_recipient: float
    kept_recipient: float


def levels(n: int, n_pruned: int, n_tied: int, n_recipients: int, removed: int, redistribute: Redistribute) -> Levels:
    """Return the target weights. This is the whole policy of redistribution; `levels` in csrc/plan.h is the same.

    Parameters
    ----------
    n, n_pruned, n_tied, n_recipients : int
        Number of samples: all, above the threshold, equal to it, and recipients.
    removed : int
        The mass to remove, in samples. The part beyond `n_pruned` is taken from the tied samples in equal shares.
    redistribute : {"argmin", "kept", "drop"} or float
        Which samples receive it.

    Notes
    -----
    Every operation is on integers below 2**53 or on doubles, and each is rounded once, in the order written here.
    """
    scale = 1.0
    if redistribute == "kept":
        scale = n / (n - removed)
    growth = 0.0
    if redistribute not in ("kept", "drop"):
        growth = removed / n_recipients
    share = 1.0
    if n_tied:
        share = (n_tied - (removed - n_pruned)) / n_tied
    tied = share * scale
    return Levels(0.0, tied, scale, tied + growth, scale + growth)


@dataclass(frozen=True, repr=False)
class Plan:
    """The result of planning: one threshold, a few counts, five target weights. An immutable value; see `apply`.

    Attributes
    ----------
    n : int
        Number of samples.
    dtype : str
        Type of the losses: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
    rule : Rule
        Contamination or gamma, and the policies for mass, ties and NaN.
    loss_min : float
        The smallest loss.
    threshold : float
        Samples with a loss above it are pruned. A number of the losses' type, represented exactly.
    recipient_threshold : float
        Samples with a loss up to it receive the removed mass; ``-inf`` if there are no recipients.
    n_pruned, n_tied, n_recipients : int
        Number of samples above the threshold (NaN included), equal to it, and receiving mass.
    n_nan : int
        Number of samples whose loss is NaN; above 0 only with ``nan="prune"``.
    removed : int
        Mass taken from pruned and tied samples, in samples.
    levels : Levels
        The five target weights, in float64.

    Notes
    -----
    Plans are made by `plan`, `reweight`, `Planner` and the like. The constructor does not check its arguments, and
    neither does pickle, which is for trusted data only.
    """

    n: int
    dtype: str
    rule: Rule
    loss_min: float
    threshold: float
    recipient_threshold: float
    n_pruned: int
    n_tied: int
    n_recipients: int
    n_nan: int
    removed: int
    levels: Levels

    @property
    def gamma(self) -> float:
        """The price of total variation: the rule's `gamma`, or ``threshold - loss_min`` under a contamination."""
        if self.rule.gamma is None:
            return self.threshold - self.loss_min
        return self.rule.gamma

    @property
    def pruned_fraction(self) -> float:
        """Share of the samples that are pruned."""
        return self.n_pruned / self.n

    @property
    def total_variation(self) -> float:
        """Total variation distance of the target distribution p = target / n from the uniform one, in [0, 1)."""
        return sum(count * abs(level - 1.0) for count, level in self._level_counts()) / (2 * self.n)

    @property
    def largest_weight(self) -> float:
        """The largest target weight of any sample."""
        return max(level for count, level in self._level_counts() if count)

    @property
    def effective_sample_size(self) -> float:
        """Kish's effective sample size of the targets, (sum w)**2 / sum w**2, between 1 and n."""
        level_counts = self._level_counts()
        mass = sum(count * level for count, level in level_counts)
        return mass * mass / sum(count * level * level for count, level in level_counts)

    def _level_counts(self) -> tuple[tuple[int, float], ...]:
        """Return (number of samples, target weight) for each level."""
        n_tied_recipients = 0
        if self.recipient_threshold >= self.threshold:
            n_tied_recipients = self.n_tied
        n_kept_recipients = self.n_recipients - n_tied_recipients
        n_kept = self.n - self.n_pruned - self.n_tied - n_kept_recipients
        counts = (self.n_pruned, self.n_tied - n_tied_recipients, n_kept, n_tied_recipients, n_kept_recipients)
        return tuple(zip(counts, self.levels, strict=True))

    def __repr__(self) -> str:
        nan = ""
        if self.n_nan:
            nan = f", n_nan={self.n_nan:_}"
        size = self.effective_sample_size
        return (
            f"Plan(n={self.n:_}, threshold={self.threshold:.6g}, gamma={self.gamma:.6g}, "
            f"n_pruned={self.n_pruned:_} ({100 * self.pruned_fraction:.1f} %), n_tied={self.n_tied:_}, "
            f"n_recipients={self.n_recipients:_}, largest_weight={self.largest_weight:.6g}, "
            f"effective_sample_size={format(size, '_.0f' if size >= 100 else '.3g')}{nan})"
        )


class Thresholds(NamedTuple):
    """The three losses that define a plan; see the attributes of `Plan`."""

    loss_min: float
    threshold: float
    recipient_threshold: float


class Counts(NamedTuple):
    """The number of samples above the threshold (NaN included), equal to it, and up to the recipients' threshold."""

    n_pruned: int
    n_tied: int
    n_recipients: int


class NonFiniteCounts(NamedTuple):
    """The losses that are NaN, -inf and +inf: how many, and the index of the first where there is one."""

    n_nan: int
    first_nan: int
    n_neg_inf: int
    first_neg_inf: int
    n_pos_inf: int


def check_losses(rule: Rule, n: int, non_finite: NonFiniteCounts) -> None:
    """Raise a ValueError if `n` losses with these NaN and infinite values cannot be reweighted."""
    n_nan, first_nan, n_neg_inf, first_neg_inf, n_pos_inf = non_finite
    if n_nan and rule.nan == "raise":
        raise ValueError(
            f"losses contain {n_nan:_} NaN among {n:_}, the first at index {first_nan}; "
            "pass nan='prune' to treat them as the highest losses"
        )
    if n_neg_inf:
        raise ValueError(
            f"losses contain {n_neg_inf:_} values of -inf among {n:_}, the first at index {first_neg_inf}; no sample "
            "can be better than that, so correct the loss that gave it"
        )
    if n_pos_inf + n_nan == n:
        raise ValueError(f"losses contain no finite value: {n_pos_inf:_} of {n:_} are +inf and {n_nan:_} NaN")


def find_thresholds(
    rule: Rule, format: Format, n: int, loss_min: float, smallest: Callable[[int], float]
) -> Thresholds:
    """Return the threshold and the recipients' threshold: their definition in terms of order statistics.

    Parameters
    ----------
    rule : Rule
    format : Format
        Type of the losses.
    n : int
        Number of samples.
    loss_min : float
        The smallest loss.
    smallest : callable
        ``smallest(k)`` is the k-th smallest loss other than NaN, k from 1; the largest one if there are fewer than k.
    """
    if rule.gamma is None:
        threshold = smallest(n - rule.quota(n))
    else:
        threshold = format.round_down(loss_min + rule.gamma)
    return Thresholds(loss_min, threshold, find_recipient_threshold(rule, n, loss_min, threshold, smallest))


def find_recipient_threshold(
    rule: Rule, n: int, loss_min: float, threshold: float, smallest: Callable[[int], float]
) -> float:
    """Return the largest loss of a recipient, never above `threshold`; -inf if there are no recipients.

    For the parameters see `find_thresholds`.
    """
    rank = rule.recipient_rank(n)
    if rank == 0:
        return -math.inf
    if rank > n:
        return threshold
    if rank == 1:
        return min(loss_min, threshold)
    return min(smallest(rank), threshold)


def make_plan(rule: Rule, format: Format, n: int, n_nan: int, thresholds: Thresholds, counts: Counts) -> Plan:
    """Return the plan with these thresholds and counts: its removed mass and its target weights follow from them."""
    removed = counts.n_pruned
    if rule.ties == "share":
        removed = max(rule.quota(n), removed)
    return Plan(
        n=n,
        dtype=format.name,
        rule=rule,
        **thresholds._asdict(),
        **counts._asdict(),
        n_nan=n_nan,
        removed=removed,
        levels=levels(n, *counts, removed, rule.redistribute),
    )


def plan_from_kernel(rule: Rule, format: Format, n: int, non_finite: Any, outcome: Any) -> Plan:
    """Return the plan that a compiled kernel computed; for the last two arguments see `reweight` in `_cpu.pyi`.

    Raises
    ------
    ValueError
        The kernel found losses that cannot be reweighted.
    """
    if non_finite is not None:
        check_losses(rule, n, NonFiniteCounts(*non_finite))
    n_nan, loss_min, threshold, recipient_threshold, n_pruned, n_tied, n_recipients, removed, levels = outcome
    # The constructor of a frozen dataclass would take four times as long.
    plan = object.__new__(Plan)
    plan.__dict__.update(
        {
            "n": n,
            "dtype": format.name,
            "rule": rule,
            "loss_min": loss_min,
            "threshold": threshold,
            "recipient_threshold": recipient_threshold,
            "n_pruned": n_pruned,
            "n_tied": n_tied,
            "n_recipients": n_recipients,
            "n_nan": n_nan,
            "removed": removed,
            "levels": tuple.__new__(Levels, levels),
        }
    )
    return plan
