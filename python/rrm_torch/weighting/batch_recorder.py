"""BatchRecorder: records the losses of a batch on the CPU by a compiled loop."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Parameter

from rrm_core._training import compiled_loops

INT64 = torch.int64
STRIDED = torch.strided


class BatchRecorder:
    """Stores the losses of batches in the memory of a `LossBuffer`, and gathers the samples' weights in the same loop.

    Parameters
    ----------
    losses, marks : Tensor, shape (n_local,)
        The memory, see `LossBuffer`.
    weights : Tensor, shape (n_local,)
    start : int
        The index of the first local sample.
    skip_nan : bool
        Whether a loss that is NaN is not recorded.
    """

    def __init__(self, losses: Tensor, marks: Tensor, weights: Tensor, start: int, *, skip_nan: bool) -> None:
        self._losses = losses
        self._marks = marks
        self._weights = weights
        self._record = None
        self._dtype = weights.dtype
        compiled = compiled_loops()
        is_on_host = losses.device.type == "cpu" and weights.device.type == "cpu"
        is_like_losses = weights.dtype == losses.dtype and weights.shape == losses.shape
        if compiled is not None and is_on_host and is_like_losses and weights.is_contiguous():
            memory = (losses.numpy(), marks.numpy(), weights.numpy())
            self._record = compiled.BatchRecorder(*memory, start, skip_nan).record
            self._addresses = self._find_addresses()

    def is_current(self, weights: Tensor) -> bool:
        """Return whether these are its weights, and all its memory is where it was.

        torch moves the memory of a tensor that is sent to another process, or whose ``data`` is replaced.
        """
        return weights is self._weights and (self._record is None or self._find_addresses() == self._addresses)

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

    def _find_addresses(self) -> tuple[int, int, int]:
        return self._losses.data_ptr(), self._marks.data_ptr(), self._weights.data_ptr()
