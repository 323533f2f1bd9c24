"""Order statistics found in rounds of counting, over losses that are never in one place.

Losses are known by their order-preserving keys (`csrc/ordered_key.h`). The first round counts them in 65,536 bins, by
the leading 16 bits of their keys; each later one does so within the bin that holds the wanted rank, or takes the few
keys in it as they are. Counts add up, so it doesn't matter where, by whom, and in which order they were made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .formats import Array

BIN_BITS = 16
BINS = 1 << BIN_BITS
FEW = BINS  # keys that are taken as they are: no more than there would be counts


class Extremes(NamedTuple):
    """What the first round finds besides counts: the lowest key, and the first index of NaN and of -inf (-1: none)."""

    lowest: int
    first_nan: int
    first_low: int
    checksum: int


class Tallied(NamedTuple):
    """What a later round finds: losses inside each interval, and how many lie below and at each point."""

    checksum: int
    inside: Sequence[int]
    censuses: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Search:
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

    def among_counts(self, counts: Array) -> Search:
        """Return the search in the bin that holds the rank."""
        upto = np.cumsum(counts)
        i = int(np.searchsorted(upto, self.rank - self.below))
        shift = self.width - BIN_BITS
        at = int(counts[i])
        return Search(self.rank, self.first + (i << shift), shift, self.below + int(upto[i]) - at, at)

    def among_keys(self, keys: Array) -> Search:
        """Return the end of the search, among the keys of all losses in the interval; others may be there too."""
        first, last, _ = self.interval
        inside = np.sort(keys[(keys >= first) & (keys <= last)])
        key = inside[self.rank - self.below - 1]
        below, upto = (int(np.searchsorted(inside, key, side)) for side in ("left", "right"))
        return Search(self.rank, int(key), 0, self.below + below, upto - below)


@dataclass(frozen=True)
class Point:
    """A key, and, once counted, how many losses lie below and at it."""

    key: int
    below: int = -1
    at: int = -1

    @property
    def found(self) -> bool:
        """Whether the losses were counted."""
        return self.at >= 0
