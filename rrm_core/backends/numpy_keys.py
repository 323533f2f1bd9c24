"""The order-preserving keys of losses, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..definition.formats import Array, widen


def keys_of(losses: Array) -> Array:
    """Return the order-preserving keys of losses, as in `csrc/ordered_key.h`."""
    unsigned = np.dtype(f"u{losses.itemsize}")
    bits = np.ascontiguousarray(losses).view(unsigned)
    sign = unsigned.type(1 << (8 * unsigned.itemsize - 1))
    keys = np.where(bits > sign, ~bits, bits | sign)
    keys[np.isnan(widen(losses))] = nan_key(keys)
    return keys


def nan_key(keys: Array) -> int:
    """Return the key of NaN, the largest one of the keys' type."""
    return int(np.iinfo(keys.dtype).max)
