"""Recorders of a batch: one compiled loop on the CPU, or one kernel on a GPU, does what takes torch many operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from rrm_core._training import compiled_loops, cuda_kernels

from .weighted_average import WeightedTerms

INT64 = torch.int64
STRIDED = torch.strided


class Recorder:
    """Stores the losses of batches in the memory of a `LossBuffer`.

    Parameters
    ----------
    losses, marks : Tensor, shape (n_local,)
        The memory, see `LossBuffer`.
    weights : Tensor, shape (n_local,)
    """

    def __init__(self, losses: Tensor, marks: Tensor, weights: Tensor) -> None:
        self._losses = losses
        self._marks = marks
        self._weights = weights
        self._dtype = weights.dtype
        self._record: Callable[..., Any] | None = None
        self._addresses = self._find_addresses()
        self._has_plain_memory = (
            weights.dtype == losses.dtype
            and weights.shape == losses.shape
            and weights.device == losses.device
            and weights.is_contiguous()
        )

    def is_current(self, weights: Tensor) -> bool:
        """Return whether these are its weights, and all its memory is where it was.

        torch moves the memory of a tensor that is sent to another process, or whose ``data`` is replaced.
        """
        return weights is self._weights and self._find_addresses() == self._addresses

    def _find_addresses(self) -> tuple[int, int, int]:
        return self._losses.data_ptr(), self._marks.data_ptr(), self._weights.data_ptr()


class HostRecorder(Recorder):
    """Records batches on the CPU, and gathers the samples' weights in the same loop.

    Parameters
    ----------
    losses, marks, weights
        As of a `Recorder`.
    start : int
        The index of the first local sample.
    skip_nan : bool
        Whether a loss that is NaN is not recorded.
    """

    def __init__(self, losses: Tensor, marks: Tensor, weights: Tensor, start: int, *, skip_nan: bool) -> None:
        super().__init__(losses, marks, weights)
        compiled = compiled_loops()
        if compiled is not None and losses.is_cpu and self._has_plain_memory:
            memory = (losses.numpy(), marks.numpy(), weights.numpy())
            self._record = compiled.BatchRecorder(*memory, start, skip_nan).record

    def accepts(self, losses: Tensor, index: Tensor) -> bool:
        """Return whether the compiled loop can read a batch: plain, contiguous tensors on the CPU, at least one sample.

        Losses of another dtype than the weights are not accepted. Whether the indices are in range, `record` finds out.
        """
        return (
            self._record is not None
            and type(losses) in (Tensor, Parameter)
            and type(index) is Tensor
            and losses.dtype is self._dtype
            and losses.is_cpu
            and index.is_cpu
            and losses.layout is STRIDED
            and losses.is_contiguous()
            and index.is_contiguous()
            and not losses.is_neg()
            and losses.numel() > 0
        )

    def record(self, losses: Tensor, index: Tensor, epoch: int) -> tuple[Tensor, bool] | None:
        """Record an accepted batch; return the weights of its samples, and whether all its losses are finite.

        The result is None, and nothing was recorded, if an index is out of range.
        """
        assert self._record is not None
        weights = torch.empty(losses.shape, dtype=self._dtype, device="cpu")
        n_non_finite = self._record(
            losses.data_ptr(), index.data_ptr(), losses.numel(), index.dtype is INT64, epoch, weights.data_ptr()
        )
        return None if n_non_finite < 0 else (weights, n_non_finite == 0)


class DeviceRecorder(Recorder):
    """Records batches on a CUDA device, and computes the terms of their weighted mean in the same kernel.

    Parameters
    ----------
    losses, marks, weights
        As of a `Recorder`. There is one element before those of the samples and one behind them, for indices out of
        range.
    start : int
        The index of the first local sample.
    counts : bool
        Whether the marks count how often a sample was recorded; otherwise they are the epochs.
    skip_nan : bool
        Whether a loss that is NaN is not recorded.
    """

    def __init__(
        self, losses: Tensor, marks: Tensor, weights: Tensor, start: int, *, counts: bool, skip_nan: bool
    ) -> None:
        super().__init__(losses, marks, weights)
        self._device = losses.device
        kernels = cuda_kernels() if self.serves(losses) else None
        if kernels is not None and self._has_plain_memory and len(weights):
            is_double = self._dtype == torch.float64
            memory = (*self._addresses, start, len(weights))
            recorder = kernels.BatchRecorder(is_double, *memory, counts, skip_nan, self._device.index or 0)
            self._record = recorder.record

    @staticmethod
    def serves(losses: Tensor) -> bool:
        """Return whether losses lie on a device that may have the kernel."""
        return losses.is_cuda

    def accepts(self, losses: Tensor, index: Tensor) -> bool:
        """Return whether the kernel can record a batch: plain tensors on its device, at least one sample.

        Losses of a wider dtype than the weights are not accepted; nor is anything where torch is to be deterministic,
        since of several losses of a sample in a batch the kernel stores any.
        """
        return (
            self._record is not None
            and type(losses) in (Tensor, Parameter)
            and type(index) is Tensor
            and losses.device == self._device
            and index.device == self._device
            and losses.layout is STRIDED
            and index.layout is STRIDED
            and not torch.are_deterministic_algorithms_enabled()
            and (losses.dtype is self._dtype or losses.dtype.itemsize < self._dtype.itemsize)
            and losses.numel() > 0
        )

    def record(self, losses: Tensor, index: Tensor, epoch: int) -> WeightedTerms:
        """Enqueue the record of an accepted batch on the current stream; return the terms of its weighted mean."""
        assert self._record is not None
        numbers = losses.detach().to(self._dtype).contiguous().resolve_neg()
        index = index.contiguous()
        size = len(numbers)
        terms = torch.empty_like(numbers)
        factors = torch.empty_like(numbers)
        has_loss = torch.empty(size, dtype=torch.bool, device=self._device)
        self._record(
            numbers.data_ptr(),
            index.data_ptr(),
            size,
            index.dtype is INT64,
            epoch,
            terms.data_ptr(),
            factors.data_ptr(),
            has_loss.data_ptr(),
            _current_stream(self._device),
        )
        return WeightedTerms(terms, factors, has_loss)


def _current_stream(device: torch.device) -> int:
    return int(torch.cuda.current_stream(device).cuda_stream)
