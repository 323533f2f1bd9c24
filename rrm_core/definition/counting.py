"""Counts that backends return in each pass of an exact multi-pass selection.

Losses are compared through their order-preserving integer keys (`csrc/ordered_key.h`). The first pass counts all
losses in 65,536 bins, by the leading 16 bits of their keys. A later pass counts the losses in a range of keys, by the
next 16 bits, or collects the keys of that range. Counts add up, so that the order of the parts, and the thread or the
machine that counts them, cannot change the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BIN_BITS = 16
BINS = 1 << BIN_BITS


class FirstPassCounts(NamedTuple):
    """Result of the first pass, besides the counts of the bins.

    Attributes
    ----------
    min_key : int
        The smallest key; that of NaN, the largest key, if all losses are NaN.
    first_nan, first_neg_inf : int
        Index of the first NaN and of the first -inf; -1 if there is none.
    checksum : int
        Sum of the losses' 32-bit words (16-bit words for 16-bit losses), modulo 2**32.
    """

    min_key: int
    first_nan: int
    first_neg_inf: int
    checksum: int


class PassCounts(NamedTuple):
    """Result of a later pass, besides the counts of the bins or the keys collected.

    Attributes
    ----------
    checksum : int
        As in `FirstPassCounts`.
    n_in_range : sequence of int
        Number of losses in each range.
    pivot_counts : sequence of (int, int)
        For each pivot, the number of losses below it and the number equal to it.
    """

    checksum: int
    n_in_range: Sequence[int]
    pivot_counts: Sequence[tuple[int, int]]
