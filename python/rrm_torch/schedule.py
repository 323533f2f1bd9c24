"""When to reweight, and by how much: pure functions of the epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

Schedule: TypeAlias = Callable[[int], float]
"""A number that changes with the epoch: called with the epochs that have ended, counted from 1."""


def due(epoch: int, *, warmup: int, every: int) -> bool:
    """Return whether a reweight follows `epoch`.

    Parameters
    ----------
    epoch : int
        The epoch that ends, counted from 1; or the step, where steps are counted.
    warmup : int, at least 1
        Epochs of plain training; the first reweight follows the last of them.
    every : int, at least 1
        Epochs from one reweight to the next.

    Returns
    -------
    bool
    """
    return epoch >= warmup and (epoch - warmup) % every == 0


def value(number: float | Schedule, epoch: int) -> float:
    """Return a number that may have a schedule, as it is after `epoch`."""
    return number(epoch) if callable(number) else number


@dataclass(frozen=True)
class Ramp:
    """A number that moves in a straight line from `first` to `final`, and stays there.

    Parameters
    ----------
    final : float
        The number from epoch ``after + over`` on.
    over : int, at least 1
        Epochs that the way takes.
    first : float, default 0
        The number up to epoch `after`.
    after : int, default 0
        Epoch at which the way begins.

    Raises
    ------
    ValueError
        `over` is below 1.

    Examples
    --------
    >>> contamination = Ramp(0.2, over=4)
    >>> [contamination(epoch) for epoch in (0, 1, 2, 4, 5)]
    [0.0, 0.05, 0.1, 0.2, 0.2]
    """

    final: float
    over: int
    first: float = 0.0
    after: int = 0

    def __post_init__(self) -> None:
        if not self.over >= 1:
            raise ValueError(f"over must be at least 1 epoch, got {self.over}; for no ramp, give the number itself")

    def __call__(self, epoch: int) -> float:
        """Return the number after `epoch`."""
        if epoch >= self.after + self.over:  # the very number, not one rounded on the way
            return self.final
        return self.first + (self.final - self.first) * max(epoch - self.after, 0) / self.over


def describe(number: float | Schedule) -> float | str:
    """Return what tells two schedules apart and survives in a file: the number, or the schedule in words.

    Raises
    ------
    TypeError
        An object has no words for itself but its address.
    """
    if not callable(number):
        return float(number)
    if isinstance(number, partial):
        given = [*map(repr, number.args), *(f"{name}={item!r}" for name, item in number.keywords.items())]
        return f"{describe(number.func)}({', '.join(given)})"
    qualified = getattr(number, "__qualname__", None)  # a function's repr holds its address
    if qualified is not None:
        return f"{number.__module__}.{qualified}"
    if repr(number).endswith(f"at {hex(id(number))}>"):
        raise TypeError(
            f"a schedule must say what it is, for the state: give {type(number).__name__} a __repr__ with its settings "
            "(a dataclass has one), or take rrm_torch.schedule.Ramp"
        )
    return repr(number)
