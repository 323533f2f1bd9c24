"""The order of samples by suspicion: by how much their losses exceed the threshold."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rrm_core._training import compiled_loops

# A compiled sort keeps the index of a sample in half a word.
MOST_SAMPLES = 1 << 32


def order_by_suspicion(excess: Tensor) -> Tensor:
    """Return the order of samples, the most suspicious first; equal ones stay in their order.

    Parameters
    ----------
    excess : Tensor of float32 or float64, shape (m,)
        The sum or mean of each sample's excess, see `rrm_torch.PruningHistory.mean_excess`. It holds no NaN.

    Returns
    -------
    Tensor of int64, shape (m,)
        On the device of `excess`.
    """
    compiled = compiled_loops() if excess.device.type == "cpu" else None
    if compiled is None or excess.dtype != torch.float32 or len(excess) >= MOST_SAMPLES:
        return torch.argsort(excess, descending=True, stable=True)
    # Of large arrays, NumPy's are on large pages, which a sort reads and writes twice as fast.
    order = np.empty(len(excess), np.int64)
    scratch = np.empty(len(excess), np.uint64)
    compiled.order_by_suspicion(excess.numpy(), order, scratch)
    return torch.from_numpy(order)
