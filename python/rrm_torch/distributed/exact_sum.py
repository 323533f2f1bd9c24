"""Reproducible summation: sums of floats that do not depend on the order, so that ranks get the bits of one process."""

from __future__ import annotations

import math

from torch import Tensor

# Bits kept of each number.
BITS = 36


class FixedPoint:
    """Numbers as multiples of one power of two, each rounded once; the multiples are integers, which add up exactly.

    Parameters
    ----------
    largest : float
        The largest magnitude among the numbers. They are rounded to 2**-36 of it, or a bit less if there are more than
        2**26.
    n : int
        How many numbers are to be added, on all ranks together.

    Attributes
    ----------
    scale : float
        The number of multiples in 1, a power of two.
    """

    def __init__(self, largest: float, n: int) -> None:
        exponent = min(BITS, 62 - n.bit_length()) - math.frexp(largest)[1]
        # 2.0**1024 is beyond a double: numbers below 1e-297 are rounded to a multiple of 2**-1023.
        self._exponent = min(exponent, 1023)
        self.scale = 2.0**self._exponent

    def multiples(self, numbers: Tensor) -> Tensor:
        """Return numbers, float32 or float64 of any shape, as int64 multiples."""
        return (numbers.double() * self.scale).round_().long()

    def value(self, total: int, divisor: int = 1) -> float:
        """Return a sum of multiples over a divisor as a float."""
        return math.ldexp(float(total) / divisor, -self._exponent)
