"""Counts of one pass of an exact multi-pass selection, as an array that backends add to.

Losses are compared through their order-preserving integer keys (`csrc/ordered_key.h`). The first pass counts all
losses in 65,536 bins, by the leading 16 bits of their keys. A later pass counts the losses in at most two ranges of
keys, by the next 16 bits, or collects the keys of those ranges; and the losses below and at each of at most two keys,
the pivots. Counts add up, so that the order of the parts, and the thread or the machine that counts them, cannot change
the result.

All counts are in one int64 array, so that a backend can change all of them in a single call of compiled code: Python
raises KeyboardInterrupt and the like between calls, so that losses are counted as a whole or not at all.
`csrc/cpu/round_counts.h` has the same layout.
"""

from __future__ import annotations

import numpy as np

from .formats import Array

BIN_BITS = 16
BINS = 1 << BIN_BITS

# Minima, which take the minimum of two arrays: the smallest key other than that of NaN, as a signed number; the index
# of the first NaN and of the first -inf; the code of the losses' type, and its negative. Only the first pass changes
# them.
MIN_KEY = 0
FIRST_NAN = 1
FIRST_NEG_INF = 2
TYPE_CODE = 3
NEGATIVE_TYPE_CODE = 4
# Sums, which add up: number of losses; sum of their 32-bit words (16-bit words for 16-bit losses) modulo 2**32; numbers
# below and at each pivot; number in each range; then the histograms, of BINS numbers each.
N = 5
CHECKSUM = 6
PIVOTS = 7
RANGES = 11
HISTOGRAMS = 13

N_MINIMA = N
# Stands for a key, an index or a type that does not exist: the neutral element of the minimum.
MISSING = np.iinfo(np.int64).max
# Fewer losses than this are counted, so that the sum of a histogram cannot overflow.
MAX_LOSSES = 1 << 47


def empty_counts(n_histograms: int) -> Array:
    """Return the counts of no loss."""
    counts = np.zeros(HISTOGRAMS + n_histograms * BINS, np.int64)
    counts[:N_MINIMA] = MISSING
    return counts


def to_signed(key: int) -> int:
    """Return a key as an int64 in the same order."""
    return key - (1 << 63)


def to_unsigned(number: int) -> int:
    """Return the key that `to_signed` turned into this number."""
    return number + (1 << 63)
