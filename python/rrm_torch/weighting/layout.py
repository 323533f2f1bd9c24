"""Where the samples' weights and losses are kept: in one process, on every rank, or each rank's slice of them there."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
import torch.distributed as dist
from torch import Tensor

import rrm_core

from ..distributed.planning import reweight
from ..distributed.process_group import PIECE, ProcessGroup
from ..distributed.shards import BYTE, slice_of
from .loss_buffer import LossBuffer

Name = Literal["replicated", "sharded"]


class Alone:
    """One process, which holds all samples and needs nobody.

    Attributes
    ----------
    n : int
        Samples in all.
    begin, end : int
        Those held here: the indices from `begin` up to `end`.
    size : int
        Ranks.
    """

    size = 1

    def __init__(self, n: int) -> None:
        self.n, self.begin, self.end = n, 0, n

    @property
    def held(self) -> int:
        """How many samples are held here."""
        return self.end - self.begin

    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:
        """Return the numbers that every rank gives; raise the same on all of them if there is an error on one."""
        if error is not None:
            raise error
        return [[*numbers]]

    def shares(self, *numbers: int) -> list[list[int]]:
        """Return the numbers of every share of the samples."""
        return [[*numbers]]

    def collect(self, recorder: LossBuffer) -> None:
        """Give `recorder` what other ranks have recorded of the samples held here."""

    def agreed(self, losses: Tensor) -> Tensor:
        """Return the losses that all ranks go by, of those that each was given for the samples held here."""
        return losses

    def reweight(
        self, losses: Tensor, weights: Tensor, mu: float, rule: dict[str, Any]
    ) -> tuple[Tensor, rrm_core.Plan]:
        """Return new weights of the samples held here, and the plan of all."""
        weights, plan = rrm_core.reweight(losses, weights, mu=mu, **rule)
        return weights, plan

    def sum(self, numbers: Tensor) -> Tensor:
        """Return the sums of int64 numbers over everybody's samples."""
        return numbers

    def maximum(self, numbers: Tensor) -> Tensor:
        """Return the greatest of float32 numbers over everybody's samples, one by one."""
        return numbers

    def whole(self, held: Tensor, *, bits: bool = False) -> Tensor:  # noqa: ARG002
        """Return what belongs to all samples, along the last dimension, from what is held here; `bits` are packed."""
        return held

    def share(self, whole: Tensor, *, bits: bool = False) -> Tensor:  # noqa: ARG002
        """Return what belongs to the samples held here, from that of all."""
        return whole


class Replicated(Alone):
    """Every rank holds all samples, and has seen some. What each recorded is brought to all when an epoch ends."""

    def __init__(self, n: int, ranks: ProcessGroup) -> None:
        super().__init__(n)
        self.ranks, self.size = ranks, ranks.size
        self._faults = [n, n]  # first index of NaN, and of -inf, that came from this rank

    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:  # noqa: D102
        return self.ranks.sync_or_raise(error, *numbers)

    def collect(self, recorder: LossBuffer) -> None:
        """Give every rank each sample's latest loss; of several recorded at one time, the highest, NaN above all."""
        self._faults = [self.n, self.n]
        for begin in range(0, self.n, PIECE):
            part = slice(begin, begin + PIECE)
            seen = recorder.times_seen[part]
            when = seen.clamp(max=1) if recorder.counting else seen
            recorder.losses[part], recorder.times_seen[part] = self._latest(begin, recorder.losses[part], when)

    def agreed(self, losses: Tensor) -> Tensor:
        """Return each sample's highest, should ranks have been given losses that differ in a bit."""
        self._faults = [self.n, self.n]
        once = torch.ones(min(PIECE, self.n), dtype=torch.int64, device=losses.device)
        pieces = enumerate(torch.split(losses.detach().float(), PIECE))
        return torch.cat([self._latest(i * PIECE, piece, once[: len(piece)])[0] for i, piece in pieces])

    def reweight(  # noqa: D102
        self, losses: Tensor, weights: Tensor, mu: float, rule: dict[str, Any]
    ) -> tuple[Tensor, rrm_core.Plan]:
        try:
            found, plan = super().reweight(losses, weights, mu, rule)
            _ = plan.threshold  # on a GPU, it is this look that raises
            return found, plan
        except ValueError as error:  # on all ranks
            of_nan, of_low = zip(*self.sync_or_raise(None, *self._faults), strict=True)
            firsts = of_nan if rule["nan"] == "raise" and min(of_nan) < self.n else of_low
            if min(firsts) == self.n:
                raise
            raise ValueError(f"{error} (rank {firsts.index(min(firsts))} recorded index {min(firsts)})") from None

    def _latest(self, begin: int, losses: Tensor, when: Tensor) -> tuple[Tensor, Tensor]:
        # In the upper half of a word when a loss was recorded, in the lower one its bits, in the order of the numbers.
        bits = torch.where(losses.isnan(), torch.nan, losses).view(torch.int32).long()
        ordered = torch.where(bits < 0, ~bits, bits + (1 << 31))
        own = when.long() << 32 | ordered
        latest = self.ranks.all_reduce_max(own)
        ordered = latest & 0xFFFF_FFFF
        bits = torch.where(ordered < 1 << 31, ~ordered, ordered - (1 << 31))
        found, at = bits.int().view(torch.float32), latest >> 32
        for kind, faulty in enumerate((found.isnan(), found.isneginf())):
            ours = faulty & (own == latest)
            if self._faults[kind] == self.n and bool(ours.any()):
                self._faults[kind] = begin + int(ours.int().argmax())
        return found, at


class Sharded(Alone):
    """Each rank holds a slice of the samples, and trains on no others."""

    def __init__(self, n: int, ranks: ProcessGroup) -> None:
        super().__init__(n)
        self.ranks, self.size = ranks, ranks.size
        self.begin, self.end = slice_of(n, ranks.rank, ranks.size)

    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:  # noqa: D102
        return self.ranks.sync_or_raise(error, *numbers)

    def reweight(  # noqa: D102
        self, losses: Tensor, weights: Tensor, mu: float, rule: dict[str, Any]
    ) -> tuple[Tensor, rrm_core.Plan]:
        return reweight(losses, weights, mu=mu, group=self.ranks, **rule)

    def shares(self, *numbers: int) -> list[list[int]]:  # noqa: D102
        return self.ranks.sync_or_raise(None, *numbers)

    def sum(self, numbers: Tensor) -> Tensor:  # noqa: D102
        return self.ranks.all_reduce_sum(numbers)

    def maximum(self, numbers: Tensor) -> Tensor:  # noqa: D102
        return self.ranks.all_reduce_max(numbers)

    def whole(self, held: Tensor, *, bits: bool = False) -> Tensor:  # noqa: D102
        ends = [slice_of(self.n, rank, self.size) for rank in range(self.size)]
        lengths = [-(-(end - begin) // BYTE) if bits else end - begin for begin, end in ends]
        first = held.movedim(-1, 0).contiguous()  # sample by sample
        return torch.cat(self.ranks.all_gather_ragged(first, lengths)).movedim(0, -1).contiguous()

    def share(self, whole: Tensor, *, bits: bool = False) -> Tensor:  # noqa: D102
        return whole[..., self.begin // BYTE : -(-self.end // BYTE)] if bits else whole[..., self.begin : self.end]


def layout(name: Name | None, n: int, group: dist.ProcessGroup | None) -> Alone:
    """Return the layout with a name; None is that of one process.

    Raises
    ------
    ValueError
        There is no such layout, or a group is given without one.
    RuntimeError
        There are no ranks.
    """
    if name not in (None, *get_args(Name)):
        raise ValueError(f"layout must be 'replicated', 'sharded' or None, got {name!r}")
    if name is None:
        if group is not None:
            raise ValueError("group needs a layout: 'replicated' or 'sharded'")
        return Alone(n)
    return (Replicated if name == "replicated" else Sharded)(n, ProcessGroup(group))
