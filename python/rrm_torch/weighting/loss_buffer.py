"""LossBuffer: the latest loss of each sample, recorded batch by batch.

Two policies say how long a loss counts: for one epoch (`EpochLossBuffer`), or until the next one is recorded, however
many steps later (`StepLossBuffer`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from .._models import to_device


class LossBuffer(ABC):
    """The latest loss of each sample, and a mark that says when or how often it was recorded.

    Recording never waits for a GPU.

    Parameters
    ----------
    begin, end : int
        The local samples: the indices in [begin, end).
    defer_errors : bool, default False
        Whether an index out of range on the host is reported by `take_out_of_range` instead of raised, because other
        ranks would wait for this one. An index on a GPU is always reported there.

    Attributes
    ----------
    MARK_DTYPE : torch.dtype
        Of `marks`.
    OUTLIVES_EPOCH : bool
        Whether losses still count in the next epoch, and so belong in a saved state.
    has_losses : bool
        Whether anything was recorded since the last `reset`.
    """

    MARK_DTYPE: ClassVar[torch.dtype]
    OUTLIVES_EPOCH: ClassVar[bool]

    def __init__(self, begin: int, end: int, *, defer_errors: bool = False) -> None:
        self.begin = begin
        self.end = end
        self.defer_errors = defer_errors
        self.has_losses = False
        # The additional last element receives the losses whose index is out of range.
        self._losses = torch.zeros(end - begin + 1)
        self._marks = torch.zeros(end - begin + 1, dtype=self.MARK_DTYPE)
        self._n_out_of_range = torch.zeros((), dtype=torch.int64)
        self._example = begin

    @property
    def losses(self) -> Tensor:
        """Latest loss of each local sample: float32, shape (end - begin,). A view, not a copy."""
        return self._losses[:-1]

    @property
    def marks(self) -> Tensor:
        """When or how often each local sample was recorded, 0 for never: shape (end - begin,). A view, not a copy."""
        return self._marks[:-1]

    def record(self, losses: Tensor, index: Tensor, step: int) -> Tensor:
        """Store the losses of a batch.

        Parameters
        ----------
        losses : Tensor of float32, shape (batch,)
        index : Tensor of int64 or int32, shape (batch,)
            The samples' indices, on the host or the device of the losses.
        step : int
            The epoch or step under way, counted from 1.

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
        self._losses[targets] = losses
        self._mark(targets, step)
        if len(index):
            self.has_losses = True
        return positions

    @abstractmethod
    def _mark(self, targets: Tensor, step: int) -> None:
        """Mark the samples at some positions as recorded."""

    @abstractmethod
    def end_step(self) -> None:
        """Clear the marks of losses that do not count in the next epoch or step; `losses` keeps its values."""

    @abstractmethod
    def recency(self, part: slice) -> Tensor:
        """Return int64 numbers by which ranks decide whose loss of a sample is the latest: 0 for none, else larger."""

    def reset(self) -> None:
        """Clear all marks: no sample counts as recorded. `losses` keeps its values until they are recorded again."""
        self._marks.zero_()
        self.has_losses = False

    def copy(self) -> LossBuffer:
        """Return a buffer with the same losses and marks."""
        other = type(self)(self.begin, self.end, defer_errors=self.defer_errors)
        other.to(self._losses.device)
        other.load(self.losses, self.marks)
        return other

    def load(self, losses: Tensor, marks: Tensor) -> None:
        """Replace the losses and marks of all local samples."""
        self.losses[:] = losses
        self.marks[:] = marks
        self.has_losses = True

    def take_out_of_range(self) -> tuple[int, int]:
        """Return the number of deferred indices out of range and one of them, and reset the number.

        The example is `begin` if only a GPU holds the indices.
        """
        count = int(self._n_out_of_range)
        example = self._example
        self._n_out_of_range.zero_()
        self._example = self.begin
        return count, example

    def to(self, device: torch.device) -> None:
        """Move to `device`; a no-op if the buffer is there already."""
        if self._losses.device != device:
            self._losses = self._losses.to(device)
            self._marks = self._marks.to(device)
            self._n_out_of_range = self._n_out_of_range.to(device)

    def _positions(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the positions of samples, clamped to the range; and the elements to store in, if they differ."""
        n_local = self.end - self.begin
        positions = index - self.begin
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
            if self._example == self.begin:
                self._example = first
        self._n_out_of_range += out_of_range.sum()
        return positions.clamp(0, max(n_local - 1, 0)), torch.where(out_of_range, n_local, positions)


class EpochLossBuffer(LossBuffer):
    """Losses of one epoch. A mark counts how often a sample was recorded in it; 2 stands for twice or more."""

    MARK_DTYPE = torch.uint8
    OUTLIVES_EPOCH = False

    def _mark(self, targets: Tensor, step: int) -> None:  # noqa: ARG002
        self._marks.index_add_(0, targets, torch.ones_like(targets, dtype=torch.uint8))
        # Without the limit, a count of 256 would wrap around to 0.
        self._marks[targets] = self._marks[targets].clamp(max=2)

    def end_step(self) -> None:
        """Reset: a loss counts for one epoch."""
        self.reset()

    def recency(self, part: slice) -> Tensor:  # noqa: D102
        return self.marks[part].clamp(max=1).long()


class StepLossBuffer(LossBuffer):
    """Losses of any number of steps. A mark is the step at which a sample was recorded last."""

    MARK_DTYPE = torch.int32
    OUTLIVES_EPOCH = True

    def _mark(self, targets: Tensor, step: int) -> None:
        self._marks.index_fill_(0, targets, step)

    def end_step(self) -> None:
        """Keep everything: a loss counts until the sample's next one."""

    def recency(self, part: slice) -> Tensor:  # noqa: D102
        return self.marks[part].long()
