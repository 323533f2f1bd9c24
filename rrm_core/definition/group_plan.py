"""GroupedPlan: thresholds, counts and target weights of groups of samples."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .float_errors import ignore_float_errors
from .formats import Array
from .rule import Rule

# Groups that `str` of a plan shows.
MAX_ROWS = 10


@dataclass(frozen=True, repr=False, eq=False)
class GroupedPlan:
    """The result of planning with `groups`: for each, a threshold, a few counts and five target weights.

    An immutable value; see `apply`. Arrays have one element per group and are read-only.

    Attributes
    ----------
    n : int
        Number of samples.
    dtype : str
        Type of the losses: ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
    rule : Rule
        Contamination, cap or gamma, and the policies for mass, ties and NaN.
    sizes : int64 array of shape (n_groups,)
        Number of samples of each group.
    loss_min : float64 array of shape (n_groups,)
        The smallest loss of each group; NaN for an empty group.
    threshold : float64 array of shape (n_groups,)
        Samples with a loss above that of their group are pruned; NaN for an empty group.
    recipient_threshold : float64 array of shape (n_groups,)
        Samples with a loss up to that of their group receive mass; ``-inf`` in all groups if there are no recipients,
        otherwise NaN for an empty group.
    n_pruned, n_tied, n_recipients : int64 array of shape (n_groups,)
        Number of samples above the threshold (NaN included), equal to it, and receiving mass.
    n_nan : int64 array of shape (n_groups,)
        Number of samples whose loss is NaN; above 0 only with ``nan="prune"``.
    removed : float64 array of shape (n_groups,)
        Mass taken from pruned and tied samples, in samples. A whole number, unless the tied samples at one threshold
        of all groups share it.
    levels : float64 array of shape (n_groups, 5)
        The target weights of a sample by its loss: pruned, tied, kept, and the last two as a recipient, see `Levels`.

    Notes
    -----
    The constructor does not check its arguments, and neither does pickle, which is for trusted data only.
    """

    n: int
    dtype: str
    rule: Rule
    sizes: Array
    loss_min: Array
    threshold: Array
    recipient_threshold: Array
    n_pruned: Array
    n_tied: Array
    n_recipients: Array
    n_nan: Array
    removed: Array
    levels: Array

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            getattr(self, name).flags.writeable = False

    @property
    def n_groups(self) -> int:
        """Number of groups, empty ones included."""
        return len(self.sizes)

    @property
    @ignore_float_errors
    def gamma(self) -> Array:
        """The price of total variation that leads to each threshold, shape (n_groups,); NaN for an empty group.

        With ``mass="group"`` it counts from the smallest loss of the group, otherwise from the smallest of all.
        """
        if self.rule.gamma is not None:
            return np.where(self.sizes > 0, self.rule.gamma, np.nan)
        base = self.loss_min if self.rule.mass == "group" else np.nanmin(self.loss_min)
        return np.subtract(self.threshold, base)

    @property
    @ignore_float_errors
    def pruned_fraction(self) -> Array:
        """Share of each group that is pruned, shape (n_groups,); NaN for an empty group."""
        return np.divide(self.n_pruned, self.sizes)

    @property
    def total_variation(self) -> float:
        """Total variation distance of the target distribution p = target / n from the uniform one, in [0, 1)."""
        counts = self._level_counts()
        return float((counts * np.abs(self.levels - 1.0)).sum()) / (2 * self.n)

    @property
    def largest_weight(self) -> float:
        """The largest target weight of any sample."""
        return float(self.levels[self._level_counts() > 0].max())

    @property
    def effective_sample_size(self) -> float:
        """Kish's effective sample size of the targets, (sum w)**2 / sum w**2, between 1 and n."""
        counts = self._level_counts()
        mass = float((counts * self.levels).sum())
        return mass * mass / float((counts * self.levels**2).sum())

    def _level_counts(self) -> Array:
        """Return the number of samples of each group on each level: int64, shape (n_groups, 5)."""
        n_tied_recipients = np.where(self.recipient_threshold >= self.threshold, self.n_tied, 0)
        n_kept_recipients = self.n_recipients - n_tied_recipients
        n_kept = self.sizes - self.n_pruned - self.n_tied - n_kept_recipients
        return np.stack(
            [self.n_pruned, self.n_tied - n_tied_recipients, n_kept, n_tied_recipients, n_kept_recipients], axis=1
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GroupedPlan):
            return NotImplemented
        return (self.n, self.dtype, self.rule) == (other.n, other.dtype, other.rule) and all(
            np.array_equal(getattr(self, name), getattr(other, name), equal_nan=True) for name in _ARRAYS
        )

    def __hash__(self) -> int:
        return hash((self.n, self.dtype, self.rule, self.sizes.tobytes(), self.n_pruned.tobytes()))

    def __repr__(self) -> str:
        n_pruned = int(self.n_pruned.sum())
        shares = self.pruned_fraction[self.sizes > 0]
        size = self.effective_sample_size
        nan = f", n_nan={int(self.n_nan.sum()):_}" if self.n_nan.any() else ""
        return (
            f"GroupedPlan(n={self.n:_}, n_groups={self.n_groups:_}, n_pruned={n_pruned:_} "
            f"({100 * n_pruned / self.n:.1f} %; of a group {100 * shares.min():.1f} to {100 * shares.max():.1f} %), "
            f"largest_weight={self.largest_weight:.6g}, "
            f"effective_sample_size={format(size, '_.0f' if size >= 100 else '.3g')}{nan})"
        )

    def __str__(self) -> str:
        """Return a table of the groups of which the largest share is pruned, below the one line of `repr`."""
        order = np.argsort(-np.nan_to_num(self.pruned_fraction, nan=-1.0), kind="stable")
        lines = [repr(self), f"{'group':>8} {'samples':>11} {'pruned':>11} {'share':>7} {'threshold':>11}"]
        for group in order[:MAX_ROWS].tolist():
            size = int(self.sizes[group])
            share = f"{100 * self.n_pruned[group] / size:.1f} %" if size else "-"
            threshold = f"{self.threshold[group]:.6g}" if size else "-"
            lines.append(f"{group:>8} {size:>11_} {int(self.n_pruned[group]):>11_} {share:>7} {threshold:>11}")
        if self.n_groups > MAX_ROWS:
            lines.append(f"{'...':>8} and {self.n_groups - MAX_ROWS:_} more groups")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[type[GroupedPlan], tuple[Any, ...]]:
        # By the constructor: arrays of a pickle would be writable.
        return GroupedPlan, tuple(getattr(self, field.name) for field in fields(self))


_ARRAYS = (
    "sizes",
    "loss_min",
    "threshold",
    "recipient_threshold",
    "n_pruned",
    "n_tied",
    "n_recipients",
    "n_nan",
    "removed",
    "levels",
)
