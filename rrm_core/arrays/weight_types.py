"""Old weights of the other type: float32 with float64 losses, and float64 with losses of the other types."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from ..definition.float_errors import ignore_float_errors
from ..definition.formats import FLOAT64, Array
from ..definition.old_weights import InvalidWeights, raise_rounded_weights

# Of float32: the bits of the smallest normal number, and the exponent of the smallest subnormal one.
_SMALLEST_NORMAL = np.uint32(1 << 23)
_SMALLEST_EXPONENT = -149
_SIGN = np.uint32(1 << 31)


@ignore_float_errors
def convert_weights(name: str, weights: Any, dtype: np.dtype[Any], block_start: int | None = None) -> Any:
    """Return old weights, an array of any framework, in the type of the new ones, which must represent them exactly.

    NaN is left to the pass that reads the result. For `block_start` see `raise_invalid_weights`.

    Raises
    ------
    ValueError
        A weight would be rounded.
    """
    if isinstance(weights, np.ndarray):
        if dtype == FLOAT64.storage:
            return _widen(weights)
        converted = _narrow(weights)
        is_rounded = ~np.isnan(weights) & (_widen(converted).view(np.uint64) != weights.view(np.uint64))
    else:
        xp = array_namespace(weights)
        converted = xp.astype(weights, getattr(xp, dtype.name))
        if dtype == FLOAT64.storage:
            return converted
        is_rounded = ~xp.isnan(weights) & (xp.astype(converted, weights.dtype) != weights)
    xp = array_namespace(is_rounded)
    n_rounded = int(xp.count_nonzero(is_rounded))
    if n_rounded:
        first = int(xp.argmax(xp.astype(is_rounded, xp.uint8)))
        rounded = InvalidWeights(n_rounded, first, float(weights[first]))
        raise_rounded_weights(rounded, int(weights.shape[0]), name=name, block_start=block_start)
    return converted


# On the host, subnormal numbers of float32 are converted by their bits: the processor may flush them to zero, as it
# does in JAX's threads and after torch.set_flush_denormal(True).


def _widen(weights: Array) -> Array:
    """Return float32 numbers as float64."""
    converted = weights.astype(np.float64)
    bits = weights.view(np.uint32)
    magnitude = bits & ~_SIGN
    is_subnormal = (magnitude > 0) & (magnitude < _SMALLEST_NORMAL)
    if is_subnormal.any():
        values = np.ldexp(magnitude[is_subnormal].astype(np.float64), _SMALLEST_EXPONENT)
        converted[is_subnormal] = np.where(bits[is_subnormal] >= _SIGN, -values, values)
    return converted


def _narrow(weights: Array) -> Array:
    """Return float64 numbers as float32: those that float32 does not have as others, which differ from them."""
    converted = weights.astype(np.float32)
    smallest_normal = np.ldexp(1.0, _SMALLEST_EXPONENT + 23)
    is_small = (np.abs(weights) < smallest_normal) & (weights != 0)
    if is_small.any():
        values = weights[is_small]
        magnitude = np.ldexp(np.abs(values), -_SMALLEST_EXPONENT).astype(np.uint32)
        converted.view(np.uint32)[is_small] = np.where(np.signbit(values), magnitude | _SIGN, magnitude)
    return converted
