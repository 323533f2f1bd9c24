"""PruningRecords: what a `PruningHistory` holds, and one pass over the local samples of a reweight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..distributed.exact_sum import BLOCK
from .loss_ranks import leading_bits
from .reweight import Reweight, total
from .reweight_sums import ReweightSums


@dataclass(frozen=True)
class PruningRecords:
    """What a history holds, replaced as a whole.

    Attributes
    ----------
    rounds : tuple of Reweight
    bits : tuple of Tensor
        By reweight, which local samples it pruned: uint8 on the host, the first of eight samples in the highest bit.
    last : Tensor of bool, shape (n_local,)
        The samples that the last reweight pruned.
    times : Tensor of int32, shape (n_local,)
        How many reweights pruned a sample.
    rank_sum : Tensor of float32, shape (n_local,)
        Sum of a sample's loss ranks.
    planned : Tensor of int32, shape (n_local,), optional
        How many reweights a sample took part in; None if every sample took part in each.
    """

    rounds: tuple[Reweight, ...]
    bits: tuple[Tensor, ...]
    last: Tensor
    times: Tensor
    rank_sum: Tensor
    planned: Tensor | None = None


def scan(
    records: PruningRecords,
    losses: Tensor,
    weights: Tensor,
    pruned: Tensor,
    members: Tensor | None,
    sums: ReweightSums,
    thresholds: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Add the local samples to `sums`; return the keys of their losses, and four counts.

    The counts are those of samples pruned now and before, now, before, and now again after a reweight that did not.
    """
    keys = torch.empty(len(losses), dtype=torch.int32, device=losses.device)
    counts = torch.zeros(4, dtype=torch.int64, device=losses.device)
    may_have_nan = sums.plan is None or total(sums.plan.n_nan) > 0 or members is not None
    for start in range(0, len(losses), BLOCK):
        part = slice(start, start + BLOCK)
        block = losses[part]
        if may_have_nan:
            block = block.nan_to_num(nan=torch.inf, posinf=torch.inf)
        keys[part] = leading_bits(block)
        now = pruned[part]
        before = records.last[part]
        masks = (now & before, now, before, now & ~before & (records.times[part] > 0))
        counts += torch.stack([mask.count_nonzero() for mask in masks])
        limits = None if thresholds is None else thresholds[part]
        if members is not None:
            block = block[members[part]]
            limits = None if limits is None else limits[members[part]]
        sums.add(block, weights[part], limits)
    return keys, counts


def pack(mask: Tensor) -> Tensor:
    """Return a mask as bits, eight samples in a byte, on the host."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def unpack(bits: Tensor, n: int) -> Tensor:
    """Return bits as a mask of n samples along the last axis."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=-1, count=n).view(bool))
