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

    Attributes
    ----------
    total : Tensor of int64, shape ()
        The sum so far, in units of the power of two; ranks sum it.
    """

    def __init__(self, largest: float, n: int, device: torch.device) -> None:
        exponent = min(BITS, 62 - n.bit_length()) - math.frexp(largest)[1]
        # 2.0**1024 is beyond a double: numbers below 1e-297 are rounded to a multiple of 2**-1023.
        self._exponent = min(exponent, 1023)
        self.total = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, block: Tensor) -> None:
        """Add numbers: float32 or float64, shape (m,), with m at most `BLOCK`."""
        scaled = (block.double() * 2.0**self._exponent).round_()
        self.total += scaled.sum().long()

    def value(self, total: int, divisor: int = 1) -> float:
        """Return a total over a divisor as a float."""
        return math.ldexp(float(total) / divisor, -self._exponent)
