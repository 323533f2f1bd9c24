"""Masks of samples as bits: uint8, eight samples in a byte, the first in the highest bit."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rrm_core._training import compiled_loops


def n_bytes(n: int) -> int:
    """Return the number of bytes that hold a bit for each of n samples."""
    return -(-n // 8)


def pack(mask: Tensor) -> Tensor:
    """Return a mask, bool of shape (n,), as bits on its device."""
    eights = functional.pad(mask.view(torch.uint8), (0, -len(mask) % 8)).view(-1, 8)
    return (eights << _shifts(mask.device)).sum(1, dtype=torch.uint8)


def unpack(bits: Tensor, n: int) -> Tensor:
    """Return bits on the host as a mask of n samples along the last axis."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=-1, count=n).view(bool))


def count_set(bits: Tensor) -> Tensor:
    """Return the number of bits set along the last axis: int64."""
    return (bits.unsqueeze(-1) >> _shifts(bits.device) & 1).sum((-2, -1))


def count_times(rows: tuple[Tensor, ...], n: int) -> Tensor:
    """Return in how many rows of bits each of n samples is set: int32, shape (n,), on the host."""
    times = torch.zeros(n, dtype=torch.int32, device="cpu")
    compiled = compiled_loops()
    if compiled is not None:
        compiled.count_prunings([row.numpy() for row in rows], times.numpy())
        return times
    for row in rows:
        times += unpack(row, n)
    return times


def _shifts(device: torch.device) -> Tensor:
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=device)
