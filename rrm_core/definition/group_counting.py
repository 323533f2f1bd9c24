"""Counts of one pass of an exact multi-pass selection with groups, as an array that backends add to.

As `counting`, with fewer bins: a histogram counts losses by the next digit of their keys, of as many bits as fit in the
memory for counts. All counts are in one int64 array, so that one call of compiled code changes all of them.
`csrc/cpu/group_counts.h` has the same layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .counting import BIN_BITS, MISSING
from .formats import Array, Format
from .rule import Rule

# Minima, which take the minimum of two arrays: as in `counting`, but for the smallest key, which is unused; then the
# smallest key of each group, as a signed number.
GROUP_MIN_KEYS = 5

# The smallest number of bits of a digit, and the memory for counts by default.
MIN_BITS = 4
DEFAULT_MEMORY = 64 << 20


class TargetNumbers:
    """The numbers of thresholds for which a rule needs order statistics.

    Parameters
    ----------
    rule : Rule

    Attributes
    ----------
    own : int
        Of each group, by ranks within the group: its threshold if the rule has shares of groups, and that of its
        recipients if it has a fraction of them.
    of_all : int
        Those of all groups together, likewise.
    """

    def __init__(self, rule: Rule) -> None:
        is_fraction = not isinstance(rule.redistribute, str)
        self.own = int(rule.group_shares is not None) + int(is_fraction and rule.mass == "group")
        self.of_all = int(isinstance(rule.contamination, float)) + int(is_fraction and rule.mass == "all")


def choose_bits(rule: Rule, n_groups: int, memory: int | None) -> int:
    """Return the number of bits of a digit, so that the counts of a round fit in `memory` bytes, 64 MiB by default.

    By default they may take more where 16 counts for each threshold do.

    Raises
    ------
    ValueError
        The memory is too small.
    """
    n_histograms = _count_histograms(rule, n_groups)
    least = histogram_bytes(rule, n_groups, MIN_BITS)
    if memory is None:
        memory = max(DEFAULT_MEMORY, least)
    if memory < least:
        raise ValueError(
            f"group_memory must be at least {least:_} bytes for {n_groups:_} groups and this rule, got {memory:_}"
        )
    return min((memory // 8 // max(n_histograms, 1)).bit_length() - 1, BIN_BITS)


def histogram_bytes(rule: Rule, n_groups: int, bits: int) -> int:
    """Return the memory for the histograms of a round: those after the first, which has fewer."""
    return _count_histograms(rule, n_groups) * 8 << bits


def _count_histograms(rule: Rule, n_groups: int) -> int:
    targets = TargetNumbers(rule)
    return n_groups * targets.own + targets.of_all


@dataclass(frozen=True, eq=False)
class GroupPass:
    """What a pass counts, and where in the array of counts.

    Attributes
    ----------
    n_groups : int
    is_first : bool
        Whether the pass finds the type of the losses, minima and numbers of NaN.
    bits : int
        Of a digit: a histogram has ``2**bits`` bins.
    shift : int
        The right shift that turns the distance of a key from the first of its range into the digit; of the first pass,
        where it depends on the type of the losses, -1.
    own : uint64 array of shape (number of histograms of a group, n_groups)
        First keys of the ranges in which the losses of a group are counted.
    of_all : uint64 array of shape (number of histograms,)
        The same of all losses.
    pivots : uint64 array of shape (number of pivots of a group, n_groups)
        Keys relative to which the losses of a group are counted.
    """

    n_groups: int
    is_first: bool
    bits: int
    shift: int
    own: Array
    of_all: Array
    pivots: Array

    def shift_of(self, format: Format) -> int:
        """Return the shift for losses of this type."""
        return format.width - self.bits if self.is_first else self.shift

    # Places in the array. Sums, which add up, follow the minima: number of losses; the checksum, see
    # `group_checksum` in `numpy_group_counting.py`; number of -inf; sizes, and numbers of NaN, of the groups; for each
    # pivot the losses of each group below it, and those equal to it; then the histograms.

    @cached_property
    def n(self) -> int:
        """Place of the number of losses, the first sum."""
        return GROUP_MIN_KEYS + self.n_groups

    @property
    def checksum(self) -> int:
        """Place of the checksum."""
        return self.n + 1

    @property
    def n_neg_inf(self) -> int:
        """Place of the number of -inf."""
        return self.n + 2

    @property
    def sizes(self) -> int:
        """Place of the sizes of the groups."""
        return self.n + 3

    @property
    def n_nan(self) -> int:
        """Place of the numbers of NaN of the groups."""
        return self.sizes + self.n_groups

    @property
    def pivot_counts(self) -> int:
        """Place of the counts relative to the pivots: shape (pivots, 2, n_groups)."""
        return self.n_nan + self.n_groups

    @property
    def own_histograms(self) -> int:
        """Place of the histograms of the groups: shape (histograms, n_groups, 2**bits)."""
        return self.pivot_counts + 2 * self.pivots.size

    @property
    def histograms_of_all(self) -> int:
        """Place of the histograms of all losses: shape (histograms, 2**bits)."""
        return self.own_histograms + (self.own.size << self.bits)

    @property
    def length(self) -> int:
        """Number of counts."""
        return self.histograms_of_all + (self.of_all.size << self.bits)

    def empty_counts(self) -> Array:
        """Return the counts of no loss."""
        counts = np.zeros(self.length, np.int64)
        counts[: self.n] = MISSING
        return counts
