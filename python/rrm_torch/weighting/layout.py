"""Layouts: which process stores the weights and losses of which samples, and how processes combine them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias, get_args

import torch
import torch.distributed as dist
from torch import Tensor

import rrm_core

from ..distributed.planning import reweight_on_ranks
from ..distributed.process_group import PIECE, ProcessGroup, stable_hash
from ..distributed.shards import BYTE, slice_of
from .fingerprint import fingerprint
from .latest_losses import latest_of_ranks
from .loss_buffer import LossBuffer
from .sample_groups import MemberGroups

LayoutName: TypeAlias = Literal["replicated", "sharded"]


class Layout(ABC):
    """Where the samples are stored. Methods that need other ranks are collective: all ranks call them together.

    The defaults are those of a process that stores all samples.

    Parameters
    ----------
    n : int
        Number of samples.
    size : int, default 1
        Number of ranks.
    rank : int, default 0
        This process.

    Attributes
    ----------
    start, end : int
        The local samples, stored in this process: the indices in [start, end).
    """

    def __init__(self, n: int, size: int = 1, rank: int = 0) -> None:
        self.n = n
        self.size = size
        self.rank = rank
        self.start, self.end = self.local_range(rank)

    @property
    def n_local(self) -> int:
        """Number of local samples."""
        return self.end - self.start

    def local_range(self, rank: int) -> tuple[int, int]:  # noqa: ARG002
        """Return the first sample that a rank stores, and the one after its last."""
        return 0, self.n

    @abstractmethod
    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:
        """Return the numbers of every rank; if a rank passes an error, raise it on all ranks instead."""

    def reweight(
        self,
        losses: Tensor,
        weights: Tensor,
        mu: float,
        rule: rrm_core.Rule,
        members: Tensor | None = None,
        groups: MemberGroups | None = None,
    ) -> tuple[Tensor, rrm_core.Plan | rrm_core.GroupedPlan]:
        """Return the new weights of the local samples, and the plan.

        Parameters
        ----------
        losses, weights : Tensor, shape (n_local,)
            Of one dtype.
        mu : float
        rule : Rule
        members : Tensor of bool, shape (n_local,), optional
            The samples that take part; by default all. The others are not planned, and keep their weights.
        groups : MemberGroups, optional
            Those of the local samples that take part.

        Raises
        ------
        ValueError
            The losses cannot be reweighted.
        """
        if members is None:
            return self._reweight(losses, weights, mu, rule, groups)
        index = members.nonzero()[:, 0]
        try:
            part, plan = self._reweight(losses[index], weights[index], mu, rule, groups)
        except ValueError as error:
            raise ValueError(f"{error} (counted among the samples that take part)") from None
        new_weights = weights.clone()
        new_weights[index] = part
        return new_weights, plan

    @abstractmethod
    def _reweight(
        self, losses: Tensor, weights: Tensor, mu: float, rule: rrm_core.Rule, groups: MemberGroups | None
    ) -> tuple[Tensor, rrm_core.Plan | rrm_core.GroupedPlan]:
        """Return the new weights of some local samples, and the plan of those of all ranks."""

    def merge_recorded(self, buffer: LossBuffer, members: Tensor | None = None) -> LossBuffer:  # noqa: ARG002
        """Return a buffer that also has the losses of local samples that other ranks have recorded.

        Parameters
        ----------
        buffer : LossBuffer
        members : Tensor of bool, shape (n_local,), optional
            The samples of whose invalid losses a later error may name the rank; by default all.
        """
        return buffer

    def reconcile(self, losses: Tensor, members: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the losses of the local samples made equal on all ranks that store them; see `merge_recorded`."""
        return losses

    def identify(self, members: Tensor | None) -> int:
        """Return a number that ranks compare: whether a population is given, and which one if all store it."""
        return int(members is not None)

    def gather_per_shard(self, *numbers: int) -> list[list[int]]:
        """Return the numbers of every disjoint part of the samples."""
        return [[*numbers]]

    def all_reduce_sum(self, numbers: Tensor) -> Tensor:
        """Return the elementwise sums of int64 numbers over the disjoint parts of the samples."""
        return numbers

    def all_reduce_max(self, numbers: Tensor) -> Tensor:
        """Return the elementwise maxima of float32 numbers over the disjoint parts of the samples."""
        return numbers

    def all_gather(self, local: Tensor, *, packed: bool = False) -> Tensor:  # noqa: ARG002
        """Return the values of all samples along the last axis; `packed` are eight samples in a byte."""
        return local

    def merge_highest(self, local: Tensor) -> Tensor:
        """Return the integers of the local samples, the highest where other ranks have some of the same samples."""
        return local

    def local_slice(self, full: Tensor, *, packed: bool = False) -> Tensor:  # noqa: ARG002
        """Return the values of the local samples, from those of all: the inverse of `all_gather`."""
        return full


class SingleProcess(Layout):
    """Single process: all samples are local and no communication is needed."""

    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:  # noqa: D102
        if error is not None:
            raise error
        return [[*numbers]]

    def _reweight(
        self, losses: Tensor, weights: Tensor, mu: float, rule: rrm_core.Rule, groups: MemberGroups | None
    ) -> tuple[Tensor, rrm_core.Plan | rrm_core.GroupedPlan]:
        return reweight_by_rule(losses, weights, mu, rule, groups)


class RankLayout(Layout):
    """The base class of layouts over the ranks of a job."""

    def __init__(self, n: int, ranks: ProcessGroup) -> None:
        super().__init__(n, ranks.size, ranks.rank)
        self.ranks = ranks

    def sync_or_raise(self, error: Exception | None, *numbers: int) -> list[list[int]]:  # noqa: D102
        return self.ranks.sync_or_raise(error, *numbers)


class Replicated(RankLayout):
    """Every rank stores all samples and trains on some; recorded losses are merged at the end of an epoch."""

    def __init__(self, n: int, ranks: ProcessGroup) -> None:
        super().__init__(n, ranks)
        # The first indices of NaN and of -inf that came from this rank; n if there is none.
        self._first_invalid = [n, n]

    def merge_recorded(self, buffer: LossBuffer, members: Tensor | None = None) -> LossBuffer:
        """Return each sample's latest loss on any rank; of several recorded at one time, the highest, NaN above all.

        The numbers that rank in place of the losses are merged likewise, each by itself.
        """
        losses, marks = self._merge(buffer.losses, buffer, members)
        ranking = None
        if buffer.ranking is not None:
            # After the losses, so that an error names the invalid numbers of this.
            ranking, _ = self._merge(buffer.ranking, buffer, members)
        return buffer.replaced(losses, ranking, marks)

    def reconcile(self, losses: Tensor, members: Tensor | None = None) -> Tensor:
        """Return each sample's highest loss, in case ranks were given losses that differ in a bit."""
        self._first_invalid = [self.n, self.n]
        ones = torch.ones(min(PIECE, self.n), dtype=torch.int64, device=losses.device)
        merged = []
        for i, piece in enumerate(torch.split(losses, PIECE)):
            highest, _ = self._latest(i * PIECE, piece, ones[: len(piece)], members)
            merged.append(highest)
        return torch.cat(merged)

    def identify(self, members: Tensor | None) -> int:  # noqa: D102
        return 0 if members is None else stable_hash(fingerprint(members))

    def merge_highest(self, local: Tensor) -> Tensor:  # noqa: D102
        return self.ranks.all_reduce_max(local.reshape(-1)).reshape(local.shape)

    def _reweight(
        self, losses: Tensor, weights: Tensor, mu: float, rule: rrm_core.Rule, groups: MemberGroups | None
    ) -> tuple[Tensor, rrm_core.Plan | rrm_core.GroupedPlan]:
        result = None
        error: ValueError | None = None
        try:
            result = reweight_by_rule(losses, weights, mu, rule, groups)
            # On a GPU, invalid losses raise when the plan is read.
            _ = result[1].threshold
        except ValueError as invalid:
            error = invalid
        self._raise_on_all(error, rule)
        assert result is not None
        return result

    def _raise_on_all(self, error: ValueError | None, rule: rrm_core.Rule) -> None:
        """Raise on all ranks an error of the reweight, with the rank and the index of an invalid loss."""
        rows = self.sync_or_raise(None, error is not None, *self._first_invalid)
        if not any(row[0] for row in rows):
            return
        if not all(row[0] for row in rows):
            # The losses are the same on all ranks, but a rank's old weights may have been changed in place.
            self.sync_or_raise(error)
        first_nan = [row[1] for row in rows]
        first_neginf = [row[2] for row in rows]
        nan_is_refused = rule.nan == "raise" and min(first_nan) < self.n
        firsts = first_nan if nan_is_refused else first_neginf
        index = min(firsts)
        location = f" (rank {firsts.index(index)} recorded index {index})" if index < self.n else ""
        raise ValueError(f"{error}{location}")

    def _merge(self, numbers: Tensor, buffer: LossBuffer, members: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return each sample's latest number on any rank, and its mark."""
        self._first_invalid = [self.n, self.n]
        latest = torch.empty_like(numbers)
        marks = torch.empty_like(buffer.marks)
        for start in range(0, self.n, PIECE):
            part = slice(start, start + PIECE)
            latest[part], marks[part] = self._latest(start, numbers[part], buffer.recency(part), members)
        return latest, marks

    def _latest(self, start: int, losses: Tensor, recency: Tensor, members: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return, of all ranks, each sample's latest loss and its recency; the samples start at index `start`."""
        merged, latest, is_own = latest_of_ranks(losses, recency, self.ranks)
        is_own &= latest > 0
        if members is not None:
            is_own &= members[start : start + len(losses)]
        for kind, invalid in enumerate((merged.isnan(), merged.isneginf())):
            from_here = invalid & is_own
            if self._first_invalid[kind] == self.n and bool(from_here.any()):
                self._first_invalid[kind] = start + int(from_here.int().argmax())
        return merged, latest


class Sharded(RankLayout):
    """Each rank stores a slice of the samples, and trains on no others."""

    def local_range(self, rank: int) -> tuple[int, int]:  # noqa: D102
        return slice_of(self.n, rank, self.size)

    def _reweight(
        self, losses: Tensor, weights: Tensor, mu: float, rule: rrm_core.Rule, groups: MemberGroups | None
    ) -> tuple[Tensor, rrm_core.Plan | rrm_core.GroupedPlan]:
        if groups is None:
            return reweight_on_ranks(losses, weights, mu, self.ranks, rule)
        return reweight_on_ranks(losses, weights, mu, self.ranks, rule, groups.argument, groups.n_groups)

    def gather_per_shard(self, *numbers: int) -> list[list[int]]:  # noqa: D102
        return self.ranks.sync_or_raise(None, *numbers)

    def all_reduce_sum(self, numbers: Tensor) -> Tensor:  # noqa: D102
        return self.ranks.all_reduce_sum(numbers)

    def all_reduce_max(self, numbers: Tensor) -> Tensor:  # noqa: D102
        return self.ranks.all_reduce_max(numbers)

    def all_gather(self, local: Tensor, *, packed: bool = False) -> Tensor:  # noqa: D102
        ranges = [self.local_range(rank) for rank in range(self.size)]
        lengths = [end - start for start, end in ranges]
        if packed:
            lengths = [-(-length // BYTE) for length in lengths]
        samples_first = local.movedim(-1, 0).contiguous()
        return torch.cat(self.ranks.all_gather_ragged(samples_first, lengths)).movedim(0, -1).contiguous()

    def local_slice(self, full: Tensor, *, packed: bool = False) -> Tensor:  # noqa: D102
        if packed:
            return full[..., self.start // BYTE : -(-self.end // BYTE)]
        return full[..., self.start : self.end]


def reweight_by_rule(
    losses: Tensor,
    weights: Tensor | None,
    mu: float,
    rule: rrm_core.Rule,
    groups: MemberGroups | None = None,
) -> tuple[Tensor, rrm_core.Plan | rrm_core.GroupedPlan]:
    """Call `rrm_core.reweight`, whose keyword arguments are the fields of the rule, in this process."""
    new_weights, plan = rrm_core.reweight(
        losses, weights, mu=mu, groups=None if groups is None else groups.argument, **vars(rule)
    )
    return new_weights, plan


def make_layout(name: LayoutName | None, n: int, group: dist.ProcessGroup | None) -> Layout:
    """Return the layout of a name for n samples; None is a single process.

    Raises
    ------
    ValueError
        The name is unknown, or a group is given without a layout.
    RuntimeError
        torch.distributed is not initialised.
    """
    if name is None:
        if group is not None:
            raise ValueError("group needs a layout: 'replicated' or 'sharded'")
        return SingleProcess(n)
    if name not in get_args(LayoutName):
        raise ValueError(f"layout must be 'replicated', 'sharded' or None, got {name!r}")
    ranks = ProcessGroup(group)
    if name == "replicated":
        return Replicated(n, ranks)
    return Sharded(n, ranks)
