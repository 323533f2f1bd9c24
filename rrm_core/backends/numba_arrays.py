"""Arrays as the kernels of the Numba backend get and return them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..definition.formats import Array
from ..definition.old_weights import InvalidWeights


def plain(array: Array, dtype: Any = None) -> Array:
    """Return contiguous, aligned, read-only memory: Numba compiles again for arrays of another kind."""
    memory = np.require(array, dtype, ["C", "A"]).view()
    memory.flags.writeable = False
    return memory


def merge_chunks(counts: Array, first_values: Array) -> InvalidWeights | None:
    """Return the invalid old weights of all chunks; see `numba_kernels.smooth` for the parameters."""
    chunks = np.flatnonzero(counts[:, 0])
    if not chunks.size:
        return None
    # Chunks are in the order of the samples.
    first = chunks[0]
    return InvalidWeights(int(counts[:, 0].sum()), int(counts[first, 1]), float(first_values[first]))
