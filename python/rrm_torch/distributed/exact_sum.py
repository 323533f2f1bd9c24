"""Reproducible summation: sums of floats that do not depend on the order, so that ranks get the bits of one process."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Numbers that are added at a time: few enough to stay in the cache.
BLOCK = 1 << 16

# Bits kept of each number. The sum of a block then has 52, which a double holds.
BITS = 36


class ExactSum:
    """A sum of numbers, each rounded once to a multiple of the same power of two; the multiples add up exactly.

    Parameters
    ----------
    largest : float
        The largest magnitude among the numbers. They are rounded to 2**-36 of it, or a bit less if there are more than
        2**26.
    n : int
        How many numbers there are, on all ranks together.
    device : torch.device
        Device of the numbers.
    n_groups : int, optional
        Number of groups with a sum each; by default there is one sum.

    Attributes
    ----------
    total : Tensor of int64, shape (), or (n_groups,)
        The sum so far, in units of the power of two; ranks sum it.
    """

    def __init__(self, largest: float, n: int, device: torch.device, n_groups: int | None = None) -> None:
        exponent = min(BITS, 62 - n.bit_length()) - math.frexp(largest)[1]
        # 2.0**1024 is beyond a double: numbers below 1e-297 are rounded to a multiple of 2**-1023.
        self._exponent = min(exponent, 1023)
        self.total = torch.zeros(() if n_groups is None else n_groups, dtype=torch.int64, device=device)

    def add(self, block: Tensor, groups: Tensor | None = None) -> None:
        """Add numbers: float32 or float64, shape (m,), with m at most `BLOCK`; with the group of each, if there are."""
        scaled = (block.double() * 2.0**self._exponent).round_()
        if groups is None:
            self.total += scaled.sum().long()
        else:
            self.total.index_add_(0, groups, scaled.long())

    def value(self, total: int, divisor: int = 1) -> float:
        """Return a total over a divisor as a float."""
        return math.ldexp(float(total) / divisor, -self._exponent)
