"""The four floating-point formats of losses, and the exact operations on them that a plan needs.

NumPy has no bfloat16: inside the library bfloat16 losses are NumPy arrays of their bits, of type uint16. Integer losses
are refused, so that uint16 has no other meaning.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Attributes
    ----------
    name : str
        Its name in every framework: ``"float32"``, ``"bfloat16"``, ...
    storage : np.dtype
        The NumPy type of an array in this format (uint16 for bfloat16).
    weights : np.dtype
        The type of the sample weights for losses in this format.
    precision : int
        Significant bits, the implicit one included.
    min_exponent : int
        Exponent `e` of the smallest normal number, as `math.frexp` returns it.
    largest : float
        The largest finite number.
    code : int
        The format's number in the compiled kernels.
    """

    name: str
    storage: np.dtype[Any]
    weights: np.dtype[Any]
    precision: int
    min_exponent: int
    largest: float
    code: int

    def round_down(self, x: float) -> float:
        """Return the largest number of this format that is not above `x`; ``-inf`` if there is none."""
        if math.isinf(x) or self.precision == 53:
            return x
        if x < -self.largest:
            return -math.inf
        # Exact in double precision: scaling by a power of two, and flooring, since no format here exceeds 24 bits.
        quantum = math.ldexp(1.0, max(math.frexp(x)[1], self.min_exponent) - self.precision)
        return min(math.floor(x / quantum) * quantum, self.largest)

    def round_down_all(self, x: Array) -> Array:
        """Return `round_down` of each element of a float64 array; NaN for NaN."""
        if self.precision == 53:
            return x
        exponents = np.maximum(np.frexp(x)[1], self.min_exponent) - self.precision
        rounded = np.minimum(np.ldexp(np.floor(np.ldexp(x, -exponents)), exponents), self.largest)
        return np.where(np.isinf(x), x, np.where(x < -self.largest, -math.inf, rounded))

    @property
    def width(self) -> int:
        """Number of bits."""
        return 8 * self.storage.itemsize

    def key(self, x: float) -> int:
        """Return the order-preserving key of a number of this format, as in `csrc/ordered_key.h`; -0 has that of 0."""
        # Computed in integers, like `decode`: a conversion of types loses subnormal numbers if the processor flushes
        # them to zero.
        sign = 1 << self.width - 1
        if self.precision == 53:
            bits = int(struct.unpack("<Q", struct.pack("<d", x))[0])
        elif math.isinf(x):
            bits = self._infinity
        elif x:
            exponent = max(math.frexp(x)[1], self.min_exponent)
            bits = int(math.ldexp(abs(x), self.precision - exponent))
            bits += exponent - self.min_exponent << self.precision - 1
        else:
            bits = 0
        bits |= sign if x < 0 else 0
        return (1 << self.width) - 1 - bits if bits > sign else bits | sign

    def decode(self, key: int) -> float:
        """Return the number that has this key, exactly. The key of NaN is not allowed."""
        sign = 1 << self.width - 1
        bits = key ^ sign if key >= sign else (1 << self.width) - 1 - key
        if self.precision == 53:
            return float(struct.unpack("<d", struct.pack("<Q", bits))[0])
        magnitude = bits & sign - 1
        exponent, fraction = divmod(magnitude, 1 << self.precision - 1)
        if exponent:
            fraction += 1 << self.precision - 1
            exponent -= 1
        x = math.ldexp(fraction, exponent + self.min_exponent - self.precision)
        x = math.inf if magnitude == self._infinity else x
        return -x if bits & sign else x

    @property
    def _infinity(self) -> int:
        return (1 << self.width - self.precision) - 1 << self.precision - 1


def _format(name: str, storage: str, weights: str, precision: int, max_exponent: int, code: int) -> Format:
    largest = math.ldexp(2.0 - math.ldexp(1.0, 1 - precision), max_exponent)
    return Format(name, np.dtype(storage), np.dtype(weights), precision, 2 - max_exponent, largest, code)


FLOAT16 = _format("float16", "float16", "float32", 11, 15, 0)
BFLOAT16 = _format("bfloat16", "uint16", "float32", 8, 127, 1)
FLOAT32 = _format("float32", "float32", "float32", 24, 127, 2)
FLOAT64 = _format("float64", "float64", "float64", 53, 1023, 3)

# Those of weights.
WEIGHT_FORMATS = (FLOAT32, FLOAT64)

BY_NAME = {format.name: format for format in (FLOAT16, BFLOAT16, FLOAT32, FLOAT64)}
BY_CODE = {format.code: format for format in BY_NAME.values()}
BY_STORAGE = {format.storage: format for format in BY_NAME.values()}


# Bits of `ndarray.flags.num`: C-contiguous and aligned. Reading them once is faster than reading two flags.
PLAIN = 0x101


def widen(losses: Array) -> Array:
    """Return losses with bfloat16 bits widened to float32, which is exact; losses of other types are returned as is."""
    if losses.dtype == BFLOAT16.storage:
        return (losses.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return losses
