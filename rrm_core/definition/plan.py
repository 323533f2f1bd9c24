"""Plan: the answer to the only global question of a reweight, and the policy that turns its counts into weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .formats import Format
from .rule import Redistribute, Rule


class Levels(NamedTuple):
    """The target weight of a sample, by the side of the two thresholds that its loss lies on."""

    pruned: float
    tied: float
    kept: float
    tied_recipient: float
    kept_recipient: float


def levels(n: int, n_pruned: int, n_tied: int, n_recipients: int, removed: int, redistribute: Redistribute) -> Levels:
    """Return the target weights. This is the whole policy of redistribution; `csrc/plan.h` holds its twin.

    Parameters
    ----------
    n, n_pruned, n_tied, n_recipients : int
        How many samples there are, lie above the threshold, lie on it, and receive.
    removed : int
        The mass to remove, in samples. What exceeds `n_pruned` is taken from the tied samples, evenly.
    redistribute : {"argmin", "kept", "drop"} or float
        Who receives it.

    Notes
    -----
    Every operation is on integers below 2**53 or on doubles, and each is rounded once, in the order written here.
    """
    scale = n / (n - removed) if redistribute == "kept" else 1.0
    growth = removed / n_recipients if redistribute not in ("kept", "drop") else 0.0
    share = (n_tied - (removed - n_pruned)) / n_tied if n_tied else 1.0
    tied, kept = share * scale, scale
    return Levels(0.0, tied, kept, tied + growth, kept + growth)


def _short(x: float) -> str:
    return f"{x:_.0f}" if x >= 100 else f"{x:.3g}"


@dataclass(frozen=True, repr=False)
class Plan:
    """What a reweight decided: one threshold, a few counts, five weights. An immutable value; apply it with `apply`.

    Attributes
    ----------
    n : int
        Number of samples.
    dtype : str
        Type of the losses: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
    rule : Rule
        The question: contamination or gamma, and the policies for mass, ties and NaN.
    loss_min : float
        The smallest loss.
    threshold : float
        Samples with a loss above it are pruned. A number of the losses' type, held exactly.
    recipient_threshold : float
        Samples with a loss up to it receive the removed mass; ``-inf`` if nobody does.
    n_pruned, n_tied, n_recipients : int
        Samples above the threshold (NaN included), exactly on it, and receiving.
    n_nan : int
        Samples whose loss is NaN; above 0 only with ``nan="prune"``.
    removed : int
        Mass taken from pruned and tied samples, counted in samples.
    levels : Levels
        The five target weights, in float64.
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
        """The price of leaving the uniform distribution: as given, or what `contamination` amounts to."""
        return self.threshold - self.loss_min if self.rule.gamma is None else self.rule.gamma

    @property
    def pruned_fraction(self) -> float:
        """Share of the samples that are pruned."""
        return self.n_pruned / self.n

    @property
    def total_variation(self) -> float:
        """Total variation distance of the target distribution p = target / n from the uniform one, in [0, 1)."""
        return sum(count * abs(level - 1.0) for count, level in self._census()) / (2 * self.n)

    @property
    def largest_weight(self) -> float:
        """The largest target weight that a sample has."""
        return max(level for count, level in self._census() if count)

    @property
    def effective_sample_size(self) -> float:
        """Kish's effective sample size of the targets, (sum w)**2 / sum w**2, between 1 and n."""
        mass = sum(count * level for count, level in self._census())
        return mass * mass / sum(count * level * level for count, level in self._census())

    def _census(self) -> tuple[tuple[int, float], ...]:
        """How many samples have which target."""
        tied_receive = self.recipient_threshold >= self.threshold and self.n_tied > 0
        tied_recipients = self.n_tied if tied_receive else 0
        kept_recipients = self.n_recipients - tied_recipients
        kept = self.n - self.n_pruned - self.n_tied - kept_recipients
        counts = (self.n_pruned, self.n_tied - tied_recipients, kept, tied_recipients, kept_recipients)
        return tuple(zip(counts, self.levels, strict=True))

    def __repr__(self) -> str:
        nan = f", nan={self.n_nan:_}" if self.n_nan else ""
        return (
            f"Plan(n={self.n:_}, threshold={self.threshold:.6g}, gamma={self.gamma:.6g}, "
            f"pruned={self.n_pruned:_} ({100 * self.pruned_fraction:.1f} %), tied={self.n_tied:_}, "
            f"recipients={self.n_recipients:_}, largest weight={self.largest_weight:.6g}, "
            f"effective size={_short(self.effective_sample_size)}{nan})"
        )


class PendingPlan(Plan):
    """A plan that a device is still making. The first look at what it found waits, and then it is a `Plan`.

    That look also raises what is wrong with the losses.
    """

    _read: Callable[[], Plan]

    def _wait(self) -> Plan:
        read = self.__dict__.get("_read")
        if read is not None:  # no other thread was faster
            found = read()
            self.__dict__.update(found.__dict__)
            object.__setattr__(self, "__class__", Plan)
            self.__dict__.pop("_read", None)
        return self

    def __getattr__(self, name: str) -> Any:
        if name in Plan.__dataclass_fields__ and name in self._wait().__dict__:  # now, if not before
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        return self._wait() == other

    __hash__ = Plan.__hash__

    def __reduce_ex__(self, protocol: Any) -> Any:
        return object.__reduce_ex__(self._wait(), protocol)


def pending_plan(n: int, format: Format, rule: Rule, read: Callable[[], Plan]) -> Plan:
    """Return the plan that `read` will return, before it is called."""
    plan = object.__new__(PendingPlan)
    plan.__dict__.update(n=n, dtype=format.name, rule=rule, _read=read)
    return plan


class Thresholds(NamedTuple):
    """The three losses that decide a plan."""

    loss_min: float
    threshold: float
    recipient_threshold: float


class Counts(NamedTuple):
    """How many samples lie above the threshold (NaN included), on it, and up to the recipients' threshold."""

    n_pruned: int
    n_tied: int
    n_recipients: int


def find_thresholds(
    rule: Rule, format: Format, n: int, loss_min: float, smallest: Callable[[int], float]
) -> Thresholds:
    """Return the threshold and the recipients' threshold: their definition, given the order statistics.

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
        ``smallest(k)`` is the k-th smallest loss that isn't NaN, counted from 1; the largest if there are fewer.
    """
    if rule.gamma is None:
        threshold = smallest(n - rule.quota(n))
    else:
        threshold = format.round_down(loss_min + rule.gamma)
    rank = rule.recipient_rank(n)
    if rank == 0:
        reach = -math.inf
    elif rank > n:
        reach = threshold
    else:
        reach = min(loss_min if rank == 1 else smallest(rank), threshold)
    return Thresholds(loss_min, threshold, reach)


def settle(rule: Rule, format: Format, n: int, n_nan: int, thresholds: Thresholds, counts: Counts) -> Plan:
    """Return the plan that follows from what a backend found."""
    removed = max(rule.quota(n), counts.n_pruned) if rule.ties == "share" else counts.n_pruned
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


def refuse_losses(rule: Rule, n: int, *, n_nan: int, first_nan: int, n_low: int, first_low: int, n_inf: int) -> None:
    """Raise a ValueError if losses with these counts of NaN, -inf and +inf can't be reweighted."""
    if n_nan and rule.nan == "raise":
        raise ValueError(
            f"losses contain {n_nan:_} NaN among {n:_}, the first at index {first_nan}; "
            "pass nan='prune' to treat them as the highest losses"
        )
    if n_low:
        raise ValueError(
            f"losses contain {n_low:_} values of -inf among {n:_}, the first at index {first_low}; no sample can be "
            "better than that, so mend the loss that gave it"
        )
    if n_inf + n_nan == n:
        raise ValueError(f"losses contain no finite value: {n_inf:_} of {n:_} are +inf and {n_nan:_} NaN")


def answered(rule: Rule, format: Format, n: int, faults: Any, found: Any) -> Plan:
    """Return the plan that a compiled backend found, or raise what is wrong with the losses; see `_cpu.pyi`."""
    if faults is not None:
        n_nan, first_nan, n_low, first_low, n_inf = faults
        refuse_losses(rule, n, n_nan=n_nan, first_nan=first_nan, n_low=n_low, first_low=first_low, n_inf=n_inf)
    n_nan, loss_min, threshold, recipient_threshold, n_pruned, n_tied, n_recipients, removed, levels = found
    plan = object.__new__(Plan)  # the constructor of a frozen dataclass would take four times as long
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
