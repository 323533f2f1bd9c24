"""The order of samples by suspicion: by the share of reweights that pruned them, then by their loss ranks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from rrm_core._training import compiled_loops

# A compiled sort keeps the index of a sample in half a word.
MOST_SAMPLES = 1 << 32


def order_by_suspicion(share: Tensor, rank: Tensor) -> Tensor:
    """Return the order of samples, the most suspicious first; equal ones stay in their order.

    Parameters
    ----------
    share : Tensor of int32 or float64, shape (m,)
        How often a sample was pruned, or how often per reweight that it took part in.
    rank : Tensor of float32 or float64, shape (m,)
        Its loss ranks, or their mean.

    Returns
    -------
    Tensor of int64, shape (m,)
        On the device of `rank`.
    """
    compiled = compiled_loops() if rank.device.type == "cpu" else None
    if compiled is None or share.dtype != torch.int32 or rank.dtype != torch.float32 or len(rank) >= MOST_SAMPLES:
        by_rank = torch.argsort(rank, descending=True, stable=True)
        return by_rank[torch.argsort(share[by_rank], descending=True, stable=True)]
    # Of large arrays, NumPy's are on large pages, which a sort reads and writes twice as fast.
    order = np.empty(len(rank), np.int64)
    scratch = np.empty(len(rank), np.uint64)
    compiled.order_by_suspicion(share.numpy(), rank.numpy(), order, scratch)
    return torch.from_numpy(order)
