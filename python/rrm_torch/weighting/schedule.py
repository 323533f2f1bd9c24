"""Schedules: numbers that are functions of the epoch, and the epochs after which a reweight is due."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Schedule: TypeAlias = Callable[[int], float]
"""A function of the number of epochs that have ended, counted from 1."""

ShareSchedule: TypeAlias = Callable[[int], npt.ArrayLike]
"""A function of the same, that returns one share or an array with one share per group."""


def due(epoch: int, *, warmup: int, every: int) -> bool:
    """Return whether a reweight follows `epoch`.

    Parameters
    ----------
    epoch : int
        The epoch that ends, counted from 1; the step, where steps are counted.
    warmup : int, at least 1
        Epochs of plain training; the first reweight follows the last of them.
    every : int, at least 1
        Epochs from one reweight to the next.

    Returns
    -------
    bool
    """
    return epoch >= warmup and (epoch - warmup) % every == 0


def value(number: Any, epoch: int) -> Any:
    """Return a number or an array, or the value of a schedule after `epoch`."""
    return number(epoch) if callable(number) else number


@dataclass(frozen=True)
class Ramp:
    """A number that changes linearly from `first` to `final`, and stays there.

    Parameters
    ----------
    final : float
        The number from epoch ``after + over`` on.
    over : int, at least 1
        Length of the ramp in epochs.
    first : float, default 0
        The number up to epoch `after`.
    after : int, default 0
        The epoch after which the ramp starts.

    Raises
    ------
    ValueError
        `over` is below 1.

    Examples
    --------
    >>> from rrm_torch import Ramp
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
        # `final` itself: the formula below could round.
        if epoch >= self.after + self.over:
            return self.final
        return self.first + (self.final - self.first) * max(epoch - self.after, 0) / self.over


def known(number: Any, epoch: int) -> tuple[Any, ...]:
    """Return the values from `epoch` on that are known in advance: the first, and the last of a `Ramp`."""
    if isinstance(number, Ramp):
        return number(epoch), number.final
    return (value(number, epoch),)


def describe(number: float | str | tuple[float, ...] | Schedule | ShareSchedule) -> float | str:
    """Return a description that differs between schedules and is the same in every process.

    Returns
    -------
    float or str
        The number or the word; of several numbers a hash; of an object its repr; of a function its name and a hash of
        its values, since two lambdas have the same name.

    Raises
    ------
    TypeError
        The repr contains an address, which differs between processes.
    """
    if isinstance(number, str):
        return number
    if isinstance(number, tuple):
        digest = hashlib.blake2b(np.array(number, "<f8").tobytes(), digest_size=8)
        return f"{len(number)} shares, {digest.hexdigest()}"
    if not callable(number):
        return float(number)
    name = _name(number)
    words = repr(number) if name is None else f"{name}, values {_values(number)}"
    if re.search(r" at 0x[0-9a-f]+>", words):
        raise TypeError(
            f"the repr of a schedule is saved in the state and must not contain an address, got {words}: give its "
            "objects a __repr__ with their settings, as a dataclass has, or use rrm_torch.Ramp"
        )
    return words


def _name(function: Any) -> str | None:
    """Return the name of a function, whose repr contains its address; None for other objects."""
    if isinstance(function, partial):
        words = [_name(item) or repr(item) for item in (function.func, *function.args)]
        words += [f"{name}={_name(item) or repr(item)}" for name, item in function.keywords.items()]
        return f"{words[0]}({', '.join(words[1:])})"
    qualified = getattr(function, "__qualname__", None)
    return qualified and f"{function.__module__}.{qualified}"


def _values(function: Schedule | ShareSchedule) -> str:
    """Return a hash of a schedule's values in the first thousand epochs, and at some later steps."""
    digest = hashlib.blake2b(digest_size=8)
    for epoch in (*range(1, 1001), *(2**k for k in range(10, 24))):
        try:
            number = np.asarray(function(epoch), "<f8")
        except Exception:
            # Such as a list that is shorter.
            number = np.array(math.nan, "<f8")
        digest.update(number.tobytes())
    return digest.hexdigest()
