"""LossBuffer: the latest loss of each sample, recorded batch by batch, and the number by which it ranks.

Two policies say how long a loss counts: for one epoch (`EpochLossBuffer`), or until the next one is recorded, however
many epochs or steps later (`LatestLossBuffer`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from .._models import to_device
from .batch_recorder import DeviceRecorder, HostRecorder
from .large_pages import empty_on_host, zeros_on_host
from .weighted_average import WeightedTerms

Buffer = TypeVar("Buffer", bound="LossBuffer")

# Elements before the local samples, and one behind them, receive what is not recorded: the losses of indices below and
# above the range, and NaN where these are skipped. There are so many that the samples stay aligned to a cache line.
PADDING = 64
BELOW = PADDING - 1
SKIPPED = 0


class LossBuffer(ABC):
    """The latest loss of each sample, and a mark that says when or how often it was recorded.

    Only `record`, `record_and_weigh` and `record_on_device` change a buffer in place; none waits for a GPU. The other
    methods return a new buffer, which may share tensors with this one.

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
    has_losses : bool
        Whether anything was recorded that still counts.
    """

    def __init__(self, start: int, end: int, *, defer_errors: bool = False, skip_nan: bool = False) -> None:
        self.start = start
        self.end = end
        self.defer_errors = defer_errors
        self.skip_nan = skip_nan
        self.has_losses = False
        host = torch.device("cpu")
        self._losses = self._new_losses(torch.float32, host)
        self._ranking: Tensor | None = None
        self._marks = self._new_marks(host)
        self._n_deferred = 0
        self._example = start
        self._ones = torch.ones(0, dtype=self._marks.dtype, device="cpu")
        self._host_recorder: HostRecorder | None = None
        self._device_recorder: DeviceRecorder | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A recorder has addresses of this buffer's memory, which a copy may replace.
        return {**vars(self), "_host_recorder": None, "_device_recorder": None}

    @property
    def losses(self) -> Tensor:
        """Latest loss of each local sample: float32 or float64, shape (end - start,). A view, not a copy.

        Where none was recorded, any number.
        """
        return self._losses[PADDING:-1]

    @property
    def ranking(self) -> Tensor | None:
        """The numbers that rank the samples: as `losses`; None if all rank by their losses. A view, not a copy."""
        return None if self._ranking is None else self._ranking[PADDING:-1]

    @property
    def marks(self) -> Tensor:
        """When or how often each local sample was recorded, 0 for never: shape (end - start,). A view, not a copy."""
        return self._marks[PADDING:-1]

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
        stored_at = self._elements(index, losses.device)
        numbers = losses if ranking is None else ranking
        targets = torch.where(numbers.isnan(), SKIPPED, stored_at) if self.skip_nan else stored_at
        if ranking is not None and self._ranking is None and len(index):
            with torch.inference_mode(False):
                self._ranking = self._losses.clone()
        # First, so that after an interrupt what was recorded is part of the state.
        self.has_losses |= len(index) > 0
        self._losses[targets] = losses
        if self._ranking is not None:
            self._ranking[targets] = numbers
        self._mark(targets, epoch)
        return self._positions(stored_at)

    def record_and_weigh(
        self, losses: Tensor, index: Tensor, epoch: int, weights: Tensor
    ) -> tuple[Tensor, bool] | None:
        """Store the losses of a batch on the CPU, and gather the weights of its samples, by a compiled loop.

        Parameters
        ----------
        losses, index, epoch
            As in `record`.
        weights : Tensor, shape (end - start,)
            Of the local samples.

        Returns
        -------
        weights : Tensor, shape (batch,)
        are_finite : bool
            Whether all losses of the batch are finite.

        None instead of both if nothing was stored: only `record` accepts such a batch, or raises the error of it.
        """
        if self._ranking is not None:
            return None
        recorder = self._host_recorder
        if recorder is None or not recorder.is_current(weights):
            recorder = HostRecorder(self.losses, self.marks, weights, self.start, skip_nan=self.skip_nan)
            self._host_recorder = recorder
        if not recorder.accepts(losses, index):
            return None
        had_losses = self.has_losses
        # First, so that after an interrupt what was recorded is part of the state.
        self.has_losses = True
        recorded = recorder.record(losses, index, epoch)
        if recorded is None:
            self.has_losses = had_losses
        return recorded

    def record_on_device(self, losses: Tensor, index: Tensor, epoch: int, weights: Tensor) -> WeightedTerms | None:
        """Store the losses of a batch on a CUDA device, and compute the terms of their weighted mean, by one kernel.

        Parameters
        ----------
        losses, index, epoch, weights
            As in `record_and_weigh`.

        Returns
        -------
        WeightedTerms or None
            None if nothing was stored: only `record` accepts such a batch.
        """
        if self._ranking is not None:
            return None
        recorder = self._device_recorder
        if recorder is None or not recorder.is_current(weights):
            counts = isinstance(self, EpochLossBuffer)
            memory = (self.losses, self.marks, weights)
            recorder = DeviceRecorder(*memory, self.start, counts=counts, skip_nan=self.skip_nan)
            self._device_recorder = recorder
        if not recorder.accepts(losses, index):
            return None
        # First, so that after an interrupt what was recorded is part of the state.
        self.has_losses = True
        return recorder.record(losses, index, epoch)

    def locate(self, index: Tensor, device: torch.device) -> Tensor:
        """Return what `record` returns, with the same errors, and record nothing; `device` is that of the buffer."""
        return self._positions(self._elements(index, device))

    @abstractmethod
    def _mark(self, targets: Tensor, epoch: int) -> None:
        """Mark the samples at some positions as recorded."""

    @abstractmethod
    def _mark_dtype(self, device: torch.device) -> torch.dtype:
        """Return the dtype of marks on a device."""

    @abstractmethod
    def _count(self, marks: Tensor) -> int:
        """Return how often samples with these marks were recorded, or at least how many of them were."""

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
        other._marks = self._new_marks(self._marks.device)
        other._n_deferred = 0
        other._example = self.start
        other.has_losses = False
        return other

    def replaced(self: Buffer, losses: Tensor, ranking: Tensor | None, marks: Tensor) -> Buffer:
        """Return a buffer with copies of these losses, ranking numbers and marks of all local samples."""
        other = copy.copy(self)
        other._losses = _padded(losses)
        other._ranking = None if ranking is None else _padded(ranking)
        other._marks = _padded(marks.to(self._marks.dtype))
        other.has_losses = True
        return other

    def take_out_of_range(self) -> tuple[int, int]:
        """Return the number of indices out of range and one of them, and forget them: they are raised once.

        The example is `start` if only a GPU holds the indices. A `LatestLossBuffer` then knows only whether there were
        any, below or above the range.
        """
        # The elements below and above the range.
        on_device = self._marks[BELOW :: self.end - self.start + 1]
        count = self._n_deferred + self._count(on_device)
        example = self._example
        if count:
            on_device.zero_()
            self._n_deferred = 0
            self._example = self.start
        return count, example

    def to(self: Buffer, device: torch.device) -> Buffer:
        """Return the buffer on a device: this one if it is there already."""
        if self._losses.device == device:
            return self
        other = copy.copy(self)
        other._losses = self._losses.to(device)
        other._ranking = None if self._ranking is None else self._ranking.to(device)
        dtype = self._mark_dtype(device)
        largest = min(torch.iinfo(self._marks.dtype).max, torch.iinfo(dtype).max)
        other._marks = self._marks.clamp(max=largest).to(device, dtype)
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

    @property
    def _size(self) -> int:
        """Number of elements: those of the samples, and the padding."""
        return PADDING + self.end - self.start + 1

    def _new_losses(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return memory for losses, not initialised."""
        if device.type == "cpu":
            return empty_on_host(self._size, dtype)
        return torch.empty(self._size, dtype=dtype, device=device)

    def _new_marks(self, device: torch.device) -> Tensor:
        dtype = self._mark_dtype(device)
        if device.type == "cpu":
            return zeros_on_host(self._size, dtype)
        return torch.zeros(self._size, dtype=dtype, device=device)

    def _elements(self, index: Tensor, device: torch.device) -> Tensor:
        """Return the elements of samples in the memory of the buffer, on a device: int64."""
        elements = (index + (PADDING - self.start)).clamp(BELOW, self._size - 1)
        if index.device.type == "cpu" and len(index):
            lowest, highest = (int(extreme) for extreme in index.aminmax())
            if lowest < self.start or highest >= self.end:
                self._raise_or_defer(index)
                elements = torch.where((elements == BELOW) | (elements == self._size - 1), SKIPPED, elements)
        return to_device(elements, device).long()

    def _positions(self, elements: Tensor) -> Tensor:
        """Return the positions of elements among the local samples, the nearest one for those out of range."""
        return (elements - PADDING).clamp(0, max(self.end - self.start - 1, 0))

    def _raise_or_defer(self, index: Tensor) -> None:
        """Raise an IndexError for indices on the host of which some are out of range, or defer it."""
        outside = index[(index < self.start) | (index >= self.end)]
        first = int(outside[0])
        if not self.defer_errors:
            raise IndexError(
                f"index must lie in [0, {self.end}), got {len(outside)} of {len(index)} outside, the first {first}; "
                "make RRM with the number of training samples"
            )
        if not self._n_deferred:
            self._example = first
        self._n_deferred += len(outside)


def _padded(values: Tensor) -> Tensor:
    return functional.pad(values, (PADDING, 1))


class EpochLossBuffer(LossBuffer):
    """Losses of one epoch. A mark counts how often a sample was recorded in it; 2 stands for twice or more.

    On a GPU the count has no limit, which would take more operations for every batch.
    """

    def _mark_dtype(self, device: torch.device) -> torch.dtype:
        # More than 255 times in an epoch would wrap around to 0 unless a count is limited.
        return torch.uint8 if device.type == "cpu" else torch.int32

    def _mark(self, targets: Tensor, epoch: int) -> None:  # noqa: ARG002
        if len(self._ones) != len(targets) or self._ones.device != self._marks.device:
            self._ones = torch.ones(targets.shape, dtype=self._marks.dtype, device=self._marks.device)
        self._marks.index_add_(0, targets, self._ones)
        if self._marks.dtype == torch.uint8:
            self._marks[targets] = self._marks[targets].clamp(max=2)

    def _count(self, marks: Tensor) -> int:
        return int(marks.sum())

    def next_epoch(self) -> EpochLossBuffer:
        """Return a buffer without losses, in memory of its own: each loss counts for one epoch."""
        other = self.cleared()
        other._losses = self._new_losses(self._losses.dtype, self._losses.device)
        return other

    def recency(self, part: slice) -> Tensor:  # noqa: D102
        return self.marks[part].clamp(max=1).long()

    def saved_marks(self, epoch: int, last_reweight: int) -> Tensor:  # noqa: ARG002
        """Return how often each sample was recorded in this epoch: 0, 1, or 2 for twice or more."""
        return self.marks.clamp(max=2).to(torch.uint8)

    def loaded_marks(self, saved_marks: Tensor, epoch: int, last_reweight: int) -> Tensor:  # noqa: ARG002, D102
        return saved_marks


class LatestLossBuffer(LossBuffer):
    """Losses of any number of epochs or steps. A mark is the epoch or step in which a sample was recorded last."""

    def _mark_dtype(self, device: torch.device) -> torch.dtype:  # noqa: ARG002
        return torch.int32

    def _mark(self, targets: Tensor, epoch: int) -> None:
        self._marks.index_fill_(0, targets, epoch)

    def _count(self, marks: Tensor) -> int:
        return int(marks.count_nonzero())

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
