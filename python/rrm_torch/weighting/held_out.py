"""The samples that a warm-up holds out, and its weights."""

from __future__ import annotations

import torch
from torch import Tensor

from rrm_core import _held_out

# Samples hashed at a time.
_PIECE = 1 << 20


def held_out(start: int, end: int, seed: int) -> Tensor:
    """Return which of the samples in [start, end) are held out: bool, shape (end - start,). See `random_share`."""
    return random_share(start, end, seed, _held_out.SHARE)


def random_share(start: int, end: int, seed: int, share: float) -> Tensor:
    """Return a random share of the samples in [start, end), as a mask: bool, shape (end - start,).

    The choice depends on the index and the seed alone, so that all ranks make the same.
    """
    return torch.from_numpy(_held_out.random_share(start, end, seed, share))


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
