"""The losses that training leaves behind: each sample's latest, and how often it was seen."""

from __future__ import annotations

import torch
from torch import Tensor

from .._models import to_device


class LossBuffer:
    """Collects losses batch by batch, without ever waiting for a GPU.

    Parameters
    ----------
    begin, end : int
        The samples held here: the indices from `begin` up to `end`.
    counting : bool, default True
        Whether `times_seen` counts; else it says when a sample was seen last.
    waiting : bool, default False
        Whether an index outside is only told by `outside`, and raises nothing: on a rank that others wait for.
    """

    def __init__(self, begin: int, end: int, *, counting: bool = True, waiting: bool = False) -> None:
        self.begin, self.end, self.counting, self.waiting = begin, end, counting, waiting
        # One place more than there are samples, for what comes with an index outside.
        self._losses = torch.zeros(end - begin + 1)
        self._times_seen = torch.zeros(end - begin + 1, dtype=torch.uint8 if counting else torch.int32)
        self._outside = torch.zeros((), dtype=torch.int64)
        self._example = begin  # of an index outside, where one is known

    @property
    def losses(self) -> Tensor:
        """Each sample's latest loss: float32, shape (end - begin,). The memory itself."""
        return self._losses[:-1]

    @property
    def times_seen(self) -> Tensor:
        """How often each was recorded since the last `restart`, or when: uint8 or int32, shape (end - begin,).

        2 is twice or more, 0 is never. The memory itself.
        """
        return self._times_seen[:-1]

    def record(self, losses: Tensor, index: Tensor, step: int = 1) -> Tensor:
        """Keep the losses of a batch; return where its samples stand here, as int64 on their device.

        Raises
        ------
        IndexError
            An index on the host lies outside [begin, end), unless this is `waiting`. Of another one outside, `outside`
            tells; its loss isn't kept, and the nearest place is returned.
        """
        place, kept_at = self._placed(index)
        place = to_device(place, losses.device).long()
        kept_at = place if kept_at is None else to_device(kept_at, losses.device).long()
        self._losses[kept_at] = losses
        if self.counting:
            self._times_seen.index_add_(0, kept_at, torch.ones_like(kept_at, dtype=torch.uint8))
            # A byte would come back to 0 at 256.
            self._times_seen[kept_at] = self._times_seen[kept_at].clamp(max=2)
        else:
            self._times_seen.index_fill_(0, kept_at, step)
        return place

    def copy(self) -> LossBuffer:
        """Return another with the same losses."""
        other = LossBuffer(self.begin, self.end, counting=self.counting, waiting=self.waiting)
        other.to(self._losses.device)
        other.take(self.losses, self.times_seen)
        return other

    def take(self, losses: Tensor, times_seen: Tensor) -> None:
        """Take over what another has recorded of all samples held here."""
        self.losses[:], self.times_seen[:] = losses, times_seen

    def restart(self) -> None:
        """Begin a new epoch."""
        self._times_seen.zero_()

    def outside(self) -> tuple[int, int]:
        """Return how many indices lay outside and an example (or `begin`, if a GPU knows it), and forget them."""
        count, example = int(self._outside), self._example
        self._outside.zero_()
        self._example = self.begin
        return count, example

    def to(self, device: torch.device) -> None:
        """Move to where the losses are; free once there."""
        if self._losses.device != device:
            self._losses, self._times_seen = self._losses.to(device), self._times_seen.to(device)
            self._outside = self._outside.to(device)

    def _placed(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return where samples stand here, or the nearest place; and where their losses are kept, if elsewhere."""
        place, held = index - self.begin, self.end - self.begin
        outside = (place < 0) | (place >= held)
        if index.device.type == "cpu":
            if not outside.any():
                return place, None
            first = int(index[outside][0])
            if not self.waiting:
                raise IndexError(
                    f"index must lie in [0, {self.end}), got {int(outside.sum())} of {len(index)} outside, the first "
                    f"{first}; make RRM with the number of training samples"
                )
            if self._example == self.begin:
                self._example = first
        self._outside += outside.sum()
        return place.clamp(0, max(held - 1, 0)), torch.where(outside, held, place)
