"""Loss ranks by the leading 16 bits of a loss.

Sorting would take five times as long for a million losses, and tell no more that matters.
"""

from __future__ import annotations

import torch
from torch import Tensor

N_KEYS = 1 << 16


def leading_bits(losses: Tensor) -> Tensor:
    """Return the leading 16 bits of each loss as float32, as a number in the order of the losses, which hold no NaN."""
    # Adding 0.0 turns -0.0 into 0.0.
    bits = (losses.float() + 0.0).view(torch.int32)
    # The bits of negative numbers are in descending order.
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered >> 16) + N_KEYS // 2


def loss_ranks(counts: Tensor, n: int) -> Tensor:
    """Return the rank over n - 1 of the losses with each key, from their number: equal keys share their mean rank."""
    # float32 by name: the quotient of integers has torch's default dtype.
    return (counts.cumsum(0) - (counts + 1).float() / 2) / max(n - 1, 1)
