"""When to reweight, and by how much: pure functions of the epoch."""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

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


def known(number: float | Schedule, epoch: int) -> tuple[float, ...]:
    """Return what can be checked of the values from `epoch` on: that there, and where a `Ramp` ends."""
    return (value(number, epoch), *([number.final] if isinstance(number, Ramp) else []))


def describe(number: float | Schedule) -> float | str:
    """Return what tells two schedules apart and survives in a file: the number, or the schedule in words.

    Of a function, these are its name and a hash of its values: two lambdas have the same name.

    Raises
    ------
    TypeError
        An object has no words for itself but its address, which is another in the next process.
    """
    if not callable(number):
        return float(number)
    name = _name(number)
    words = repr(number) if name is None else f"{name}, values {_values(number)}"
    if re.search(r" at 0x[0-9a-f]+>", words):
        raise TypeError(
            f"a schedule must say what it is, for the state, and this one says {words}: give its objects a __repr__ "
            "with their settings (a dataclass has one), or take rrm_torch.Ramp"
        )
    return words


def _name(function: Any) -> str | None:
    """Return a function's name, since its repr holds its address; None of an object that isn't one."""
    if isinstance(function, partial):
        words = [_name(item) or repr(item) for item in (function.func, *function.args)]
        words += [f"{name}={_name(item) or repr(item)}" for name, item in function.keywords.items()]
        return f"{words[0]}({', '.join(words[1:])})"
    qualified = getattr(function, "__qualname__", None)
    return qualified and f"{function.__module__}.{qualified}"


def _values(function: Schedule) -> str:
    """Return a hash of a schedule's values in the first thousand epochs, and at some steps beyond."""
    digest = hashlib.blake2b(digest_size=8)
    for epoch in (*range(1, 1001), *(2**k for k in range(10, 24))):
        try:
            number = float(function(epoch))
        except Exception:  # a list that has come to its end, say
            number = math.nan
        digest.update(struct.pack("<d", number))
    return digest.hexdigest()
