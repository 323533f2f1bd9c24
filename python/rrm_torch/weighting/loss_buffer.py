"""LossBuffer: the latest loss of each sample, recorded batch by batch, and the number by which it ranks.

Two policies say how long a loss counts: for one epoch (`EpochLossBuffer`), or until the next one is recorded, however
many epochs or steps later (`LatestLossBuffer`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from .._models import to_device

Buffer = TypeVar("Buffer", bound="LossBuffer")


class LossBuffer(ABC):
    """The latest loss of each sample, and a mark that says when or how often it was recorded.

    Only `record` changes a buffer in place; it never waits for a GPU. The other methods return a new buffer, which may
    share tensors with this one.

    Parameters
    ----------
    start, end : int
        The local samples: the indices in [start, end).
    defer_errors : bool, default False
        Whether an index out of range on the host is reported by `take_out_of_range` instead of raised, because other
        ranks would wait for this one. An index on a GPU is always reported there.
    skip_nan : bool, default False
        Whether a loss that is NaN is not recorded, so that the sample keeps the one before.

    Attributes
    ----------
    MARK_DTYPE : torch.dtype
        Of `marks`.
    has_losses : bool
        Whether anything was recorded that still counts.
    """

    MARK_DTYPE: ClassVar[torch.dtype]

    def __init__(self, start: int, end: int, *, defer_errors: bool = False, skip_nan: bool = False) -> None:
        self.start = start
        self.end = end
        self.defer_errors = defer_errors
        self.skip_nan = skip_nan
        self.has_losses = False
        # The additional last element receives the losses that are not recorded, such as those of an index out of range.
        self._losses = torch.zeros(end - start + 1, dtype=torch.float32, device="cpu")
        self._ranking: Tensor | None = None
        self._marks = torch.zeros(end - start + 1, dtype=self.MARK_DTYPE, device="cpu")
        self._n_out_of_range = torch.zeros((), dtype=torch.int64, device="cpu")
        self._example = start

    @property
    def losses(self) -> Tensor:
        """Latest loss of each local sample: float32 or float64, shape (end - start,). A view, not a copy."""
        return self._losses[:-1]

    @property
    def ranking(self) -> Tensor | None:
        """The numbers that rank the samples: as `losses`; None if all rank by their losses. A view, not a copy."""
        return None if self._ranking is None else self._ranking[:-1]

    @property
    def marks(self) -> Tensor:
        """When or how often each local sample was recorded, 0 for never: shape (end - start,). A view, not a copy."""
        return self._marks[:-1]

    def record(self, losses: Tensor, index: Tensor, epoch: int, ranking: Tensor | None = None) -> Tensor:
        """Store the losses of a batch.

        Parameters
        ----------
        losses : Tensor, shape (batch,)
            Of the dtype of the buffer.
        index : Tensor of int64 or int32, shape (batch,)
            The samples' indices, on the host or the device of the losses.
        epoch : int
            The epoch or step under way, counted from 1.
        ranking : Tensor, shape (batch,), optional
            Of the dtype of the buffer: the numbers that rank in place of the losses.

        Returns
        -------
        Tensor of int64, shape (batch,)
            The samples' positions in `losses`, on the device of the losses; for an index out of range the nearest one.

        Raises
        ------
        IndexError
            An index on the host is out of range, unless errors are deferred. Nothing has been stored.
        """
        positions, targets = self._positions(index)
        positions = to_device(positions, losses.device).long()
        targets = positions if targets is None else to_device(targets, losses.device).long()
        numbers = losses if ranking is None else ranking
        if self.skip_nan:
            targets = torch.where(numbers.isnan(), self.end - self.start, targets)
        if ranking is not None and self._ranking is None and len(index):
            self._ranking = self._losses.clone()
        # First, so that after an interrupt what was recorded is part of the state.
        self.has_losses |= len(index) > 0
        self._losses[targets] = losses
        if self._ranking is not None:
            self._ranking[targets] = numbers
        self._mark(targets, epoch)
        return positions

    def locate(self, index: Tensor, device: torch.device) -> Tensor:
        """Return what `record` returns, with the same errors, and record nothing; `device` is that of the buffer."""
        positions, _ = self._positions(index)
        return to_device(positions, device).long()

    @abstractmethod
    def _mark(self, targets: Tensor, epoch: int) -> None:
        """Mark the samples at some positions as recorded."""

    @abstractmethod
    def next_epoch(self) -> LossBuffer:
        """Return the buffer of the next epoch or step, with the losses that still count then."""

    @abstractmethod
    def recency(self, part: slice) -> Tensor:
        """Return int64 numbers by which ranks decide whose loss of a sample is the latest: 0 for none, else larger."""

    @abstractmethod
    def saved_marks(self, epoch: int, last_reweight: int) -> Tensor:
        """Return the marks as a state holds them: uint8, shape (end - start,), 0 for never.

        Parameters
        ----------
        epoch : int
            The epoch or step under way, counted from 1.
        last_reweight : int
            The epoch or step that the last reweight followed; 0 before the first.
        """

    @abstractmethod
    def loaded_marks(self, saved_marks: Tensor, epoch: int, last_reweight: int) -> Tensor:
        """Return the marks of a state as this buffer holds them; see `saved_marks`."""

    def cleared(self: Buffer) -> Buffer:
        """Return a buffer without marks: no sample counts as recorded."""
        other = copy.copy(self)
        other._ranking = None
        other._marks = torch.zeros_like(self._marks)
        other._n_out_of_range = torch.zeros_like(self._n_out_of_range)
        other._example = self.start
        other.has_losses = False
        return other

    def replaced(self: Buffer, losses: Tensor, ranking: Tensor | None, marks: Tensor) -> Buffer:
        """Return a buffer with copies of these losses, ranking numbers and marks of all local samples."""
        other = copy.copy(self)
        other._losses = torch.cat([losses, losses.new_zeros(1)])
        other._ranking = None if ranking is None else torch.cat([ranking, ranking.new_zeros(1)])
        other._marks = torch.cat([marks.to(self.MARK_DTYPE), marks.new_zeros(1, dtype=self.MARK_DTYPE)])
        other.has_losses = True
        return other

    def take_out_of_range(self) -> tuple[int, int]:
        """Return the number of deferred indices out of range and one of them, and forget them: they are raised once.

        The example is `start` if only a GPU holds the indices.
        """
        count = int(self._n_out_of_range)
        example = self._example
        if count:
            self._n_out_of_range.zero_()
            self._example = self.start
        return count, example

    def to(self: Buffer, device: torch.device) -> Buffer:
        """Return the buffer on a device: this one if it is there already."""
        if self._losses.device == device:
            return self
        other = copy.copy(self)
        other._losses = self._losses.to(device)
        other._ranking = None if self._ranking is None else self._ranking.to(device)
        other._marks = self._marks.to(device)
        other._n_out_of_range = self._n_out_of_range.to(device)
        return other

    def double(self: Buffer) -> Buffer:
        """Return the buffer with losses of float64."""
        other = copy.copy(self)
        other._losses = self._losses.double()
        other._ranking = None if self._ranking is None else self._ranking.double()
        return other

    def ranked(self: Buffer) -> Buffer:
        """Return the buffer with ranking numbers, which are the losses where none were recorded."""
        if self._ranking is not None:
            return self
        other = copy.copy(self)
        other._ranking = self._losses.clone()
        return other

    def _positions(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the positions of samples, clamped to the range; and the elements to store in, if they differ."""
        n_local = self.end - self.start
        positions = index - self.start
        out_of_range = (positions < 0) | (positions >= n_local)
        if index.device.type == "cpu":
            if not out_of_range.any():
                return positions, None
            first = int(index[out_of_range][0])
            if not self.defer_errors:
                raise IndexError(
                    f"index must lie in [0, {self.end}), got {int(out_of_range.sum())} of {len(index)} outside, the "
                    f"first {first}; make RRM with the number of training samples"
                )
            if self._example == self.start:
                self._example = first
        self._n_out_of_range += out_of_range.sum()
        return positions.clamp(0, max(n_local - 1, 0)), torch.where(out_of_range, n_local, positions)


class EpochLossBuffer(LossBuffer):
    """Losses of one epoch. A mark counts how often a sample was recorded in it; 2 stands for twice or more."""

    MARK_DTYPE = torch.uint8

    def _mark(self, targets: Tensor, epoch: int) -> None:  # noqa: ARG002
        self._marks.index_add_(0, targets, torch.ones_like(targets, dtype=torch.uint8))
        # Without the limit, a count of 256 would wrap around to 0.
        self._marks[targets] = self._marks[targets].clamp(max=2)

    def next_epoch(self) -> EpochLossBuffer:
        """Return a buffer without losses: each counts for one epoch."""
        return self.cleared()

    def recency(self, part: slice) -> Tensor:  # noqa: D102
        return self.marks[part].clamp(max=1).long()

    def saved_marks(self, epoch: int, last_reweight: int) -> Tensor:  # noqa: ARG002
        """Return how often each sample was recorded in this epoch: 0, 1, or 2 for twice or more."""
        return self.marks

    def loaded_marks(self, saved_marks: Tensor, epoch: int, last_reweight: int) -> Tensor:  # noqa: ARG002, D102
        return saved_marks


class LatestLossBuffer(LossBuffer):
    """Losses of any number of epochs or steps. A mark is the epoch or step in which a sample was recorded last."""

    MARK_DTYPE = torch.int32

    def _mark(self, targets: Tensor, epoch: int) -> None:
        self._marks.index_fill_(0, targets, epoch)

    def next_epoch(self) -> LatestLossBuffer:
        """Return this buffer: a loss counts until the sample's next one."""
        return self

    def recency(self, part: slice) -> Tensor:  # noqa: D102
        return self.marks[part].long()

    def saved_marks(self, epoch: int, last_reweight: int) -> Tensor:
        """Return 1 for a loss used by an earlier reweight, 2 for one recorded since the last, 3 for this epoch's."""
        marks = self.marks
        levels = [marks > 0, marks > last_reweight, marks >= epoch]
        return torch.stack(levels).sum(0, dtype=torch.uint8)

    def loaded_marks(self, saved_marks: Tensor, epoch: int, last_reweight: int) -> Tensor:  # noqa: D102
        levels = torch.tensor([0, 1, last_reweight + 1, epoch], dtype=torch.int32, device=saved_marks.device)
        return levels[saved_marks.long()]
