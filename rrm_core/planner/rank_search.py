"""Order statistics that are known up to a range of keys, and counts of losses relative to a key."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..definition.counting import BIN_BITS, BINS
from ..definition.formats import Array

MAX_KEYS = BINS  # the largest number of keys to collect: counting them takes as much memory


@dataclass(frozen=True)
class RankRange:
    """A loss of a given rank, as far as it is known: which keys it may have, and how the losses stand to these.

    Attributes
    ----------
    rank : int
        Among all losses, from 1.
    first, width : int
        The interval: 2**width keys from the first on. With a width of 0 the loss is found.
    below, at : int
        How many losses lie below the interval and in it.
    """

    rank: int
    first: int
    width: int
    below: int = 0
    at: int = 0

    @property
    def found(self) -> bool:
        """Whether the loss is known, and how many lie below and at it."""
        return self.width == 0

    @property
    def key(self) -> int:
        """The key of the loss, once it is found."""
        return self.first

    @property
    def interval(self) -> tuple[int, int, int]:
        """The first and the last key, and the shift from a key's distance to its bin."""
        return self.first, self.first + (1 << self.width) - 1, self.width - BIN_BITS

    def among_counts(self, counts: Array) -> RankRange:
        """Return the search in the bin that holds the rank."""
        upto = np.cumsum(counts)
        i = int(np.searchsorted(upto, self.rank - self.below))
        shift = self.width - BIN_BITS
        at = int(counts[i])
        return RankRange(self.rank, self.first + (i << shift), shift, self.below + int(upto[i]) - at, at)

    def among_keys(self, keys: Array) -> RankRange:
        """Return the end of the search, among the keys of all losses in the interval; others may be there too."""
        first, last, _ = self.interval
        inside = np.sort(keys[(keys >= first) & (keys <= last)])
        key = inside[self.rank - self.below - 1]
        below, upto = (int(np.searchsorted(inside, key, side)) for side in ("left", "right"))
        return RankRange(self.rank, int(key), 0, self.below + below, upto - below)


@dataclass(frozen=True)
class PivotCount:
    """A key, and, once counted, how many losses lie below and at it."""

    key: int
    below: int = -1
    at: int = -1

    @property
    def found(self) -> bool:
        """Whether the losses were counted."""
        return self.at >= 0
