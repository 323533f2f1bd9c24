"""Sums of floats that don't depend on the order, so that ranks get the bits of one process."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .distributed.layouts import Alone

BITS = 29  # of an integer below; 2**34 of them can be added up
MOST = 126  # of the exponent of a power of two that single precision has
BLOCK = 1 << 15  # numbers that stay in the cache


def sums(arrays: Sequence[Tensor], layout: Alone) -> tuple[float, list[float]]:
    """Return the greatest number of the first array and the sum of each, over the shares of all ranks.

    Each number is taken as a multiple of 2**-58 of the largest of its array, and these integers are added up: exactly,
    for all that lies within 34 bits of the largest.

    Parameters
    ----------
    arrays : sequence of Tensor of float32, shape (m,)
        Finite numbers.
    layout : Alone
        How the arrays are spread.

    Returns
    -------
    greatest : float
        0 or more.
    sums : list of float
    """
    tops = torch.stack([x.abs().max() if len(x) else x.new_zeros(()) for x in arrays]).double()
    tops = layout.maximum(tops)
    scales = [min(BITS - math.frexp(top)[1], MOST) for top in tops.tolist()]
    parts = torch.stack([part for x, scale in zip(arrays, scales, strict=True) for part in _integers(x, scale)])
    found = layout.sum(parts).tolist()
    by_array = zip(found[::2], found[1::2], scales, strict=True)
    return float(tops[0]), [math.ldexp(float((high << BITS) + low), -scale - BITS) for high, low, scale in by_array]


def _integers(x: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Return the sum of x * 2**scale, rounded, and 2**BITS times that of what rounding left over."""
    high, low = torch.zeros((2,), dtype=torch.int64, device=x.device)
    for block in torch.split(x, BLOCK):
        scaled = block * 2.0**scale
        whole = scaled.round()
        high += whole.int().sum(dtype=torch.int64)
        low += ((scaled - whole) * 2.0**BITS).round_().int().sum(dtype=torch.int64)
    return high, low
