"""The latest loss of each sample among those that several ranks recorded."""

from __future__ import annotations

import torch
from torch import Tensor

from ..distributed.process_group import ProcessGroup


def latest_of_ranks(losses: Tensor, recency: Tensor, ranks: ProcessGroup) -> tuple[Tensor, Tensor, Tensor]:
    """Return each sample's latest loss on any rank; of several that are equally recent, the highest. Collective.

    Parameters
    ----------
    losses : Tensor of float32 or float64, shape (m,)
        This rank's; NaN is the highest.
    recency : Tensor of int64, shape (m,)
        Below 2**31; the larger, the later.
    ranks : ProcessGroup

    Returns
    -------
    losses : Tensor, shape (m,)
        Of the dtype of `losses`.
    recency : Tensor of int64, shape (m,)
        Of these losses.
    is_own : Tensor of bool, shape (m,)
        Which of these losses this rank has.
    """
    # NaN of any sign becomes the one whose bits are above those of all numbers.
    losses = torch.where(losses.isnan(), torch.nan, losses)
    if losses.dtype == torch.float64:
        return _latest_double(losses, recency, ranks)
    return _latest_float(losses, recency, ranks)


def _latest_float(losses: Tensor, recency: Tensor, ranks: ProcessGroup) -> tuple[Tensor, Tensor, Tensor]:
    # One maximum decides both: the recency is in the upper half of a word, and in the lower half are the loss's bits,
    # mapped so that their order is that of the numbers.
    bits = losses.view(torch.int32).long()
    ordered = torch.where(bits < 0, ~bits, bits + (1 << 31))
    words = recency << 32 | ordered
    latest = ranks.all_reduce_max(words)
    ordered = latest & 0xFFFF_FFFF
    bits = torch.where(ordered < 1 << 31, ~ordered, ordered - (1 << 31))
    return bits.int().view(torch.float32), latest >> 32, words == latest


def _latest_double(losses: Tensor, recency: Tensor, ranks: ProcessGroup) -> tuple[Tensor, Tensor, Tensor]:
    # The bits of a loss fill a word: one maximum for the recency, and one for the losses.
    latest = ranks.all_reduce_max(recency)
    bits = losses.view(torch.int64)
    ordered = torch.where(bits < 0, bits ^ 0x7FFF_FFFF_FFFF_FFFF, bits)
    ordered = torch.where(recency == latest, ordered, torch.iinfo(torch.int64).min)
    highest = ranks.all_reduce_max(ordered)
    bits = torch.where(highest < 0, highest ^ 0x7FFF_FFFF_FFFF_FFFF, highest)
    return bits.view(torch.float64), latest, ordered == highest
