"""The samples that a warm-up holds out: predictions for them are those of a model that has not trained on them.

The trainers of this distribution share this module.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SHARE = 0.15
"""The share of the samples that is held out."""

# Samples hashed at a time.
_PIECE = 1 << 20


def random_share(start: int, end: int, seed: int, share: float = SHARE) -> npt.NDArray[np.bool_]:
    """Return a random share of the samples in [start, end), as a mask: bool, shape (end - start,).

    The choice depends on the index and the seed alone, so that all processes make the same.

    Notes
    -----
    The hash is the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014). A sample is chosen if its hash lies in this share of the range, at its lower end.
    """
    mask = np.empty(end - start, bool)
    for first in range(start, end, _PIECE):
        index = np.arange(first, min(first + _PIECE, end), dtype=np.uint64)
        mask[first - start : first - start + len(index)] = _hash(index, seed) < np.uint64(share * 2**64)
    return mask


def _hash(index: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    # Wraps around, as it should.
    words: npt.NDArray[np.uint64] = index + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words
