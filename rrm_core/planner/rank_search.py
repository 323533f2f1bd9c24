"""Order statistics that are known up to a range of keys, and counts of losses relative to a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ..definition.counting import BIN_BITS, BINS
from ..definition.formats import Array

MAX_KEYS = BINS  # the largest number of keys to collect: their memory is that of a histogram


@dataclass(frozen=True)
class RankRange:
    """The loss of a given rank, known up to a range of 2**width keys.

    Attributes
    ----------
    rank : int
        Rank among all losses, counted from 1.
    first : int
        First key of the range.
    width : int
        Binary logarithm of the number of keys in the range; 0 once the loss is known.
    n_below, n_inside : int
        Number of losses below the range and in it.
    """

    rank: int
    first: int
    width: int
    n_below: int = 0
    n_inside: int = 0

    @property
    def resolved(self) -> bool:
        """True once the range is a single key, which is that of the loss."""
        return self.width == 0

    @property
    def key(self) -> int:
        """Key of the loss, once resolved."""
        return self.first

    @property
    def n_at(self) -> int:
        """Number of losses with this key, once resolved."""
        return self.n_inside

    @property
    def bounds(self) -> tuple[int, int, int]:
        """First key, last key, and the right shift that turns the distance of a key from the first into its bin."""
        return self.first, self.first + (1 << self.width) - 1, self.width - BIN_BITS

    def narrow(self, histogram: Array) -> RankRange:
        """Return the bin of the range that holds the rank.

        Parameters
        ----------
        histogram : int64 array of shape (BINS,)
            Number of losses in each bin of the range.
        """
        cumulative = np.cumsum(histogram)
        bin = int(np.searchsorted(cumulative, self.rank - self.n_below))
        n_inside = int(histogram[bin])
        width = self.width - BIN_BITS
        return RankRange(
            rank=self.rank,
            first=self.first + (bin << width),
            width=width,
            n_below=self.n_below + int(cumulative[bin]) - n_inside,
            n_inside=n_inside,
        )

    def resolve(self, keys: Array) -> RankRange:
        """Return the single key that has the rank.

        Parameters
        ----------
        keys : uint64 array
            The keys of all losses in the range, in any order; keys outside the range are ignored.
        """
        first, last, _ = self.bounds
        sorted_keys = np.sort(keys[(keys >= first) & (keys <= last)])
        key = sorted_keys[self.rank - self.n_below - 1]
        n_less = int(np.searchsorted(sorted_keys, key, side="left"))
        n_up_to = int(np.searchsorted(sorted_keys, key, side="right"))
        return RankRange(self.rank, int(key), 0, self.n_below + n_less, n_up_to - n_less)


@dataclass(frozen=True)
class PivotCount:
    """A key whose rank is to be counted.

    Attributes
    ----------
    key : int
    n_below, n_at : int
        Number of losses with a smaller key and with this key; -1 before they are counted.
    """

    key: int
    n_below: int = -1
    n_at: int = -1

    @property
    def resolved(self) -> bool:
        """True once the losses are counted."""
        return self.n_at >= 0


Target: TypeAlias = "RankRange | PivotCount"
