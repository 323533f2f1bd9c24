"""Rule: what the caller asks of a reweight, checked once, and turned into integer ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from operator import index
from typing import Literal, TypeAlias

import numpy as np

Ties: TypeAlias = Literal["keep", "share"]
NaN: TypeAlias = Literal["raise", "prune"]
Redistribute: TypeAlias = "Literal['argmin', 'kept', 'drop'] | float"


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen and what happens to the mass above it. See `rrm_core.reweight` for the arguments.

    Exactly one of `contamination` and `gamma` is not None.
    """

    contamination: float | None = None
    gamma: float | None = None
    redistribute: Redistribute = "argmin"
    ties: Ties = "keep"
    nan: NaN = "raise"

    def __post_init__(self) -> None:
        if (self.contamination is None) == (self.gamma is None):
            given = "neither" if self.gamma is None else f"contamination={self.contamination} and gamma={self.gamma}"
            raise ValueError(f"give exactly one of contamination and gamma, got {given}")
        if self.contamination is not None:
            contamination = _share("contamination", self.contamination)
            if not 0 <= contamination < 1:
                raise ValueError(f"contamination must lie in [0, 1), got {self.contamination}; it is a share, not a %")
            object.__setattr__(self, "contamination", contamination)
        if self.gamma is not None:
            gamma = number("gamma", self.gamma)
            if not gamma >= 0:
                raise ValueError(f"gamma must be at least 0, got {self.gamma}")
            object.__setattr__(self, "gamma", gamma)
        if self.ties not in ("keep", "share"):
            raise ValueError(f"ties must be 'keep' or 'share', got {self.ties!r}")
        if self.nan not in ("raise", "prune"):
            raise ValueError(f"nan must be 'raise' or 'prune', got {self.nan!r}")
        if self.ties == "share" and self.gamma is not None:
            raise ValueError(
                "ties='share' needs contamination: gamma prescribes no mass that the tied samples could share, "
                f"got gamma={self.gamma}"
            )
        if isinstance(self.redistribute, str):
            if self.redistribute not in ("argmin", "kept", "drop"):
                raise ValueError(
                    f"redistribute must be 'argmin', 'kept', 'drop' or a fraction in (0, 1], got {self.redistribute!r}"
                )
        else:
            fraction = _share("redistribute", self.redistribute)
            if not 0 < fraction <= 1:
                raise ValueError(f"redistribute, as a fraction, must lie in (0, 1], got {self.redistribute}")
            object.__setattr__(self, "redistribute", fraction)

    def quota(self, n: int) -> int:
        """Return floor(contamination * n), the number of samples to prune; 0 under the gamma rule."""
        if self.contamination is None:
            return 0
        # Below 1 by less than an ulp, the product can still round to n; one sample is always kept.
        return min(_floor(self.contamination * n), n - 1)

    def recipient_rank(self, n: int) -> int:
        """Return m: the kept samples up to the m-th smallest loss are recipients. 0 means nobody, n + 1 all kept."""
        if isinstance(self.redistribute, str):
            return {"drop": 0, "argmin": 1, "kept": n + 1}[self.redistribute]
        return min(max(-_floor(-(self.redistribute * n)), 1), n)

    def ranks(self, n: int) -> tuple[int, float, int, int, str, bool]:
        """Return the rule for `n` samples in integers, as the compiled backends know it (`Rule` in csrc/plan.h)."""
        quota = self.quota(n)
        return (
            n - quota if self.gamma is None else 0,
            self.gamma or 0.0,
            self.recipient_rank(n),
            quota if self.ties == "share" else 0,
            self.redistribute if isinstance(self.redistribute, str) and self.redistribute != "argmin" else "recipients",
            self.nan == "prune",
        )


def number(name: str, value: object) -> float:
    """Return `value` as a float, or raise a TypeError that names the argument."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number that a double can hold, got one of 10**308 or more") from None


def thread_count(threads: int | None) -> int | None:
    """Return a number of threads, or None for the default; raise a ValueError for what is none."""
    if threads is None:
        return None
    try:
        count = index(threads)
    except TypeError:
        count = 0
    if count < 1 or isinstance(threads, bool):
        raise ValueError(f"threads must be a whole number, at least 1, or None, got {threads!r}")
    return min(count, 1 << 16)


def _share(name: str, value: object) -> float:
    """Return a share as a float; one in half or single precision as the decimal that it stands for, 0.7 as 0.7."""
    if isinstance(value, np.floating) and value.dtype.itemsize < 8:
        return float(str(value))
    return number(name, value)


def _floor(product: float) -> int:
    """Return floor(product), where two ulps below an integer count as that integer.

    0.29 * 100 is 28.999999999999996 in double: the decimal that the caller wrote and the product are each rounded once,
    so two ulps are all that rounding can take away.
    """
    nearest = round(product)
    return nearest if abs(nearest - product) <= 2 * math.ulp(product) else math.floor(product)
