"""The samples that a warm-up holds out: predictions for them are those of a model that has not trained on them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

SHARE = 0.15

# Samples hashed at a time.
_PIECE = 1 << 20


def held_out(start: int, end: int, seed: int) -> Tensor:
    """Return which of the samples in [start, end) are held out: bool, shape (end - start,). See `random_share`."""
    return random_share(start, end, seed, SHARE)


def random_share(start: int, end: int, seed: int, share: float) -> Tensor:
    """Return a random share of the samples in [start, end), as a mask: bool, shape (end - start,).

    The choice depends on the index and the seed alone, so that all ranks make the same.

    Notes
    -----
    The hash is the finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014). A sample is chosen if its hash lies in this share of the range, at its lower end.
    """
    mask = np.empty(end - start, bool)
    for first in range(start, end, _PIECE):
        index = np.arange(first, min(first + _PIECE, end), dtype=np.uint64)
        mask[first - start : first - start + len(index)] = _hash(index, seed) < np.uint64(share * 2**64)
    return torch.from_numpy(mask)


def warmup_weights(n: int, start: int, end: int, seed: int, *, keeps_mass: bool) -> Tensor:
    """Return the weights of the local samples in a warm-up: float32, shape (end - start,).

    Those held out have weight 0. The others have a common weight that makes the mean 1, or weight 1 unless
    `keeps_mass` is true.
    """
    weight = 1.0
    if keeps_mass:
        weight = n / (n - sum(int(held_out(first, last, seed).count_nonzero()) for first, last in _pieces(n)))
    return torch.where(held_out(start, end, seed), 0.0, weight).to(torch.float32)


def _pieces(n: int) -> list[tuple[int, int]]:
    return [(first, min(first + _PIECE, n)) for first in range(0, n, _PIECE)]


def _hash(index: npt.NDArray[np.uint64], seed: int) -> npt.NDArray[np.uint64]:
    # Wraps around, as it should.
    words: npt.NDArray[np.uint64] = index + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words
