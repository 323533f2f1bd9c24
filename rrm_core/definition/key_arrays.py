"""Arrays of order-preserving keys: `Format.key` and `Format.decode` of every element."""

from __future__ import annotations

import numpy as np

from .float_errors import ignore_float_errors
from .formats import Array, Format


@ignore_float_errors
def encode_keys(values: Array, format: Format) -> Array:
    """Return the keys of numbers of a format, given as float64, as uint64; 0 for NaN."""
    sign = np.uint64(1 << format.width - 1)
    last = np.uint64((1 << format.width) - 1)
    if format.precision == 53:
        bits = np.ascontiguousarray(values).view(np.uint64)
        magnitude = bits & ~sign
    else:
        # Computed in integers, as in `Format.key`.
        fraction, exponent = np.frexp(np.where(np.isfinite(values), np.abs(values), 0.0))
        exponent = np.maximum(exponent, format.min_exponent)
        magnitude = np.ldexp(np.where(fraction > 0, np.abs(values), 0.0), format.precision - exponent).astype(np.uint64)
        magnitude += (exponent - format.min_exponent).astype(np.uint64) << np.uint64(format.precision - 1)
        magnitude = np.where(fraction > 0, magnitude, np.uint64(0))
        magnitude = np.where(np.isinf(values), _infinity(format), magnitude)
    is_negative = np.signbit(values) & (magnitude > 0)
    keys = np.where(is_negative, last - (magnitude | sign), magnitude | sign)
    return np.where(np.isnan(values), np.uint64(0), keys)


@ignore_float_errors
def decode_keys(keys: Array, format: Format) -> Array:
    """Return the numbers that have these keys, a uint64 array, as float64. The key of NaN is not allowed."""
    sign = np.uint64(1 << format.width - 1)
    last = np.uint64((1 << format.width) - 1)
    is_positive = keys >= sign
    bits = np.where(is_positive, keys ^ sign, last - keys)
    if format.precision == 53:
        return bits.view(np.float64)
    magnitude = bits & (sign - np.uint64(1))
    exponent = (magnitude >> np.uint64(format.precision - 1)).astype(np.int64)
    fraction = magnitude & np.uint64((1 << format.precision - 1) - 1)
    is_normal = exponent > 0
    fraction = np.where(is_normal, fraction + np.uint64(1 << format.precision - 1), fraction).astype(np.float64)
    values = np.ldexp(fraction, np.where(is_normal, exponent - 1, 0) + (format.min_exponent - format.precision))
    values = np.where(magnitude == _infinity(format), np.inf, values)
    return np.where(is_positive, values, -values)


def _infinity(format: Format) -> np.uint64:
    """Return the bits of infinity."""
    return np.uint64((1 << format.width - format.precision) - 1 << format.precision - 1)
