"""PruningRecords: what a `PruningHistory` holds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .packed_bits import n_bytes
from .reweight import Reweight


@dataclass(frozen=True)
class PruningRecords:
    """What a history holds, replaced as a whole.

    How many reweights pruned a sample is not stored: it follows from `bits`.

    Attributes
    ----------
    rounds : tuple of Reweight
    bits : tuple of Tensor
        By reweight, which local samples it pruned, see `packed_bits`; on the host.
    last, ever : Tensor of uint8, shape (ceil(n_local / 8),)
        Bits of the samples that the last reweight pruned, and of those that any did.
    excess_sum : Tensor of float32, shape (n_local,)
        Sum of a sample's losses, each less its threshold, over the reweights that the sample took part in. An infinite
        threshold counts as 0, NaN as an infinite loss.
    planned : Tensor of int32, shape (n_local,), optional
        How many reweights a sample took part in; None if every sample took part in each.
    """

    rounds: tuple[Reweight, ...]
    bits: tuple[Tensor, ...]
    last: Tensor
    ever: Tensor
    excess_sum: Tensor
    planned: Tensor | None = None

    def to(self, device: torch.device) -> PruningRecords:
        """Return the records with what is by sample on `device`; `bits` stay on the host."""
        if self.excess_sum.device == device:
            return self
        return replace(
            self,
            last=self.last.to(device),
            ever=self.ever.to(device),
            excess_sum=self.excess_sum.to(device),
            planned=None if self.planned is None else self.planned.to(device),
        )


def no_records(n_local: int) -> PruningRecords:
    """Return the records of no reweight, of a number of local samples, on the host."""
    none = torch.zeros(n_bytes(n_local), dtype=torch.uint8, device="cpu")
    excess_sum = torch.zeros(n_local, dtype=torch.float32, device="cpu")
    return PruningRecords(rounds=(), bits=(), last=none, ever=none, excess_sum=excess_sum)
