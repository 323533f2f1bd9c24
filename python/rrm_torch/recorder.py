"""The losses that training leaves behind: each sample's latest, and how often it was seen."""

from __future__ import annotations

import torch
from torch import Tensor

from .modes import to_device


class Recorder:
    """Collects losses batch by batch, without ever waiting for a GPU.

    Parameters
    ----------
    n : int
        Number of samples.
    counting : bool, default True
        Whether `times_seen` counts; else it is 1 for what was seen.

    Attributes
    ----------
    losses : Tensor of float32, shape (n,)
        Each sample's latest loss.
    times_seen : Tensor of uint8, shape (n,)
        How often it was recorded since the last `restart`; 2 is twice or more.
    """

    def __init__(self, n: int, *, counting: bool = True) -> None:
        self.n, self.counting = n, counting
        self.losses = torch.zeros(n)
        self.times_seen = torch.zeros(n, dtype=torch.uint8)
        self._outside = torch.zeros((), dtype=torch.int64)

    def record(self, losses: Tensor, index: Tensor) -> Tensor:
        """Keep the losses of a batch; return its index, as int64 on their device.

        Raises
        ------
        IndexError
            An index on the host lies outside [0, n). One on a GPU is moved inside, and `raise_outside` tells of it.
        """
        index = to_device(self._within(index), losses.device).long()
        self.losses[index] = losses
        if self.counting:
            self.times_seen.index_add_(0, index, torch.ones_like(index, dtype=torch.uint8))
            self.times_seen[index] = self.times_seen[index].clamp(max=2)  # a byte would come back to 0 at 256
        else:
            self.times_seen.index_fill_(0, index, 1)
        return index

    def restart(self) -> None:
        """Begin a new epoch."""
        self.times_seen.zero_()

    def missing(self) -> str | None:
        """Say how many samples were not seen, and which is the first; None if all were."""
        return _say(self.times_seen == 0, "missing")

    def repeated(self) -> str | None:
        """Say how many samples were seen more than once, and which is the first; None if none was."""
        return _say(self.times_seen > 1, "seen more than once")

    def raise_outside(self) -> None:
        """Raise an IndexError if an index on a GPU lay outside [0, n), and forget it."""
        outside = int(self._outside)
        if outside:
            self._outside.zero_()
            self.restart()
            raise IndexError(self._complaint(outside))

    def to(self, device: torch.device) -> None:
        """Move to where the losses are; free once there."""
        if self.losses.device != device:
            self.losses, self.times_seen = self.losses.to(device), self.times_seen.to(device)
            self._outside = self._outside.to(device)

    def _within(self, index: Tensor) -> Tensor:
        outside = (index < 0) | (index >= self.n)
        if index.device.type == "cpu":
            if outside.any():
                raise IndexError(self._complaint(int(outside.sum()), f" of {len(index)}", int(index[outside][0])))
            return index
        self._outside += outside.sum()
        return index.clamp(0, self.n - 1)

    def _complaint(self, count: int, among: str = "", first: int | None = None) -> str:
        shown = "" if first is None else f", the first {first}"
        return (
            f"index must lie in [0, {self.n}), got {count}{among} outside{shown}; make RRM with the number of training "
            "samples"
        )


def _say(mask: Tensor, what: str) -> str | None:
    count = int(mask.count_nonzero())
    return f"{count} {what} (the first: index {int(mask.nonzero()[0])})" if count else None
