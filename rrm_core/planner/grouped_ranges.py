"""Order statistics of groups that are known up to ranges of keys: `rank_search` for arrays of ranks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..definition.formats import Array
from ..definition.rule import Rule

BLOCK_COUNTS = 1 << 20  # counts of histograms that are summed up at a time


class KeyRanges(NamedTuple):
    """The losses with given ranks, each known up to a range of keys. All ranges have the same size, a power of 2.

    Attributes
    ----------
    first : uint64 array
        First key of each range; 0 where there is no rank.
    n_below, n_inside : int64 arrays of the same shape
        Number of losses below the range and in it; 0 where there is no rank.
    """

    first: Array
    n_below: Array
    n_inside: Array

    @classmethod
    def unknown(cls, shape: tuple[int, ...]) -> KeyRanges:
        """Return the ranges of all keys, before anything is counted."""
        return cls(np.zeros(shape, np.uint64), np.zeros(shape, np.int64), np.zeros(shape, np.int64))

    def narrow(self, ranks: Array, histograms: Array, width: int) -> KeyRanges:
        """Return the bins of the ranges that hold the ranks.

        Parameters
        ----------
        ranks : int64 array
            From 1; 0 where there is none.
        histograms : int64 array of the shape of the ranges and, at the end, the number of bins
            Number of losses in each bin of each range; with a first dimension of 1 if all of it share them.
        width : int
            Binary logarithm of the number of keys in a bin.
        """
        n_bins = histograms.shape[-1]
        histograms = histograms.reshape(-1, n_bins)
        ranks_in_range = (ranks - self.n_below).reshape(-1)
        bins = np.empty(ranks_in_range.size, np.int64)
        n_before = np.empty(ranks_in_range.size, np.int64)
        n_inside = np.empty(ranks_in_range.size, np.int64)
        step = max(BLOCK_COUNTS // n_bins, 1)
        for start in range(0, ranks_in_range.size, step):
            block = slice(start, start + step)
            rows = np.arange(ranks_in_range[block].size)
            counts = histograms[(start + rows) % len(histograms)]
            cumulative = np.cumsum(counts, axis=1)
            # If the counts contradict the rank, the check of consistency rejects the result.
            bin = np.minimum((cumulative < ranks_in_range[block, None]).sum(axis=1), n_bins - 1)
            bins[block] = bin
            n_inside[block] = counts[rows, bin]
            n_before[block] = cumulative[rows, bin] - n_inside[block]
        shape = self.first.shape
        return KeyRanges(
            first=self.first + (bins.astype(np.uint64) << np.uint64(width)).reshape(shape),
            n_below=self.n_below + n_before.reshape(shape),
            n_inside=n_inside.reshape(shape),
        )


def own_ranks(rule: Rule, sizes: Array, n_nan: Array) -> Array:
    """Return the ranks of `TargetNumbers.own`: int64, shape (number of thresholds, n_groups); 0 for an empty group."""
    ranks = []
    if rule.group_shares is not None:
        ranks.append(rule.group_ranks(sizes))
    if rule.mass == "group" and not isinstance(rule.redistribute, str):
        ranks.append(rule.recipient_ranks(sizes))
    # NaN have no rank: the largest other loss stands for those beyond it.
    clipped: Array = np.minimum(np.array(ranks, np.int64).reshape(-1, len(sizes)), sizes - n_nan)
    return clipped


def ranks_of_all(rule: Rule, n: int, n_nan: int) -> Array:
    """Return the ranks of `TargetNumbers.of_all`: int64, shape (number of thresholds,)."""
    ranks = []
    if isinstance(rule.contamination, float):
        ranks.append(n - rule.quota(n))
    if rule.mass == "all" and not isinstance(rule.redistribute, str):
        ranks.append(rule.recipient_rank(n))
    clipped: Array = np.minimum(np.array(ranks, np.int64), n - n_nan)
    return clipped
