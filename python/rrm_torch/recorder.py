"""The losses that training leaves behind: each sample's latest, and how often it was seen."""

from __future__ import annotations

import torch
from torch import Tensor

from .modes import to_device


class Recorder:
    """Collects losses batch by batch, without ever waiting for a GPU.

    Parameters
    ----------
    begin, end : int
        The samples held here: the indices from `begin` up to `end`.
    counting : bool, default True
        Whether `times_seen` counts; else it says when a sample was seen last.
    waiting : bool, default False
        Whether an index outside is only told by `outside`, and raises nothing: on a rank that others wait for.

    Attributes
    ----------
    losses : Tensor of float32, shape (end - begin,)
        Each sample's latest loss.
    times_seen : Tensor of uint8 or int32, shape (end - begin,)
        How often it was recorded since the last `restart`, 2 being twice or more; or at which step, 0 being never.
    """

    def __init__(self, begin: int, end: int, *, counting: bool = True, waiting: bool = False) -> None:
        self.begin, self.end, self.counting, self.waiting = begin, end, counting, waiting
        self.losses = torch.zeros(end - begin)
        self.times_seen = torch.zeros(end - begin, dtype=torch.uint8 if counting else torch.int32)
        self._outside = torch.zeros((), dtype=torch.int64)
        self._example = begin  # of an index outside, where one is known

    def record(self, losses: Tensor, index: Tensor, step: int = 1) -> Tensor:
        """Keep the losses of a batch; return where its samples stand here, as int64 on their device.

        Raises
        ------
        IndexError
            An index on the host lies outside [begin, end), unless this is `waiting`. One on a GPU is moved inside, and
            `outside` tells of it.
        """
        place = to_device(self._within(index), losses.device).long() - self.begin
        if not len(self.losses):
            return place[:0]
        self.losses[place] = losses
        if self.counting:
            self.times_seen.index_add_(0, place, torch.ones_like(place, dtype=torch.uint8))
            self.times_seen[place] = self.times_seen[place].clamp(max=2)  # a byte would come back to 0 at 256
        else:
            self.times_seen.index_fill_(0, place, step)
        return place

    def copy(self) -> Recorder:
        """Return another with the same losses."""
        other = Recorder(self.begin, self.end, counting=self.counting, waiting=self.waiting)
        other.losses, other.times_seen = self.losses.clone(), self.times_seen.clone()
        return other

    def restart(self) -> None:
        """Begin a new epoch."""
        self.times_seen.zero_()

    def outside(self) -> tuple[int, int]:
        """Return how many indices lay outside and an example (or `begin`, if a GPU knows it), and forget them."""
        count, example = int(self._outside), self._example
        self._outside.zero_()
        self._example = self.begin
        return count, example

    def to(self, device: torch.device) -> None:
        """Move to where the losses are; free once there."""
        if self.losses.device != device:
            self.losses, self.times_seen = self.losses.to(device), self.times_seen.to(device)
            self._outside = self._outside.to(device)

    def _within(self, index: Tensor) -> Tensor:
        outside = (index < self.begin) | (index >= self.end)
        if index.device.type == "cpu":
            if not outside.any():
                return index
            if self._example == self.begin:
                self._example = int(index[outside][0])
            if not self.waiting:
                raise IndexError(
                    f"index must lie in [0, {self.end}), got {int(outside.sum())} of {len(index)} outside, the first "
                    f"{self._example}; make RRM with the number of training samples"
                )
        self._outside += outside.sum()
        return index.clamp(self.begin, max(self.end - 1, self.begin))
