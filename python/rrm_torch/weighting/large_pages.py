"""Memory for a number per sample on the host.

NumPy asks the system for large pages, so that the first write to a large array takes a fraction of the time that it
takes in torch's memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

DTYPES = {torch.float32: np.float32, torch.float64: np.float64, torch.uint8: np.uint8, torch.int32: np.int32}


def empty_on_host(n: int, dtype: torch.dtype) -> Tensor:
    """Return n numbers of a dtype in `DTYPES` on the host, which are not initialised."""
    if n == 0:
        # An empty array of NumPy becomes a tensor of stride 0, which torch cannot view as bytes.
        return torch.empty(0, dtype=dtype, device="cpu")
    return torch.from_numpy(np.empty(n, DTYPES[dtype]))


def zeros_on_host(n: int, dtype: torch.dtype) -> Tensor:
    """Return n zeros of a dtype in `DTYPES` on the host; memory that is never touched takes no time."""
    return torch.from_numpy(np.zeros(n, DTYPES[dtype]))
