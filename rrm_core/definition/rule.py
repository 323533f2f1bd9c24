"""Rule: the parameters of a reweight, validated once; and the integer ranks that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from .._arguments import as_float, as_fraction

Ties: TypeAlias = Literal["keep", "share"]
NaN: TypeAlias = Literal["raise", "prune"]
Redistribute: TypeAlias = Literal["argmin", "kept", "drop"] | float


@dataclass(frozen=True)
class Rule:
    """How the threshold is chosen and how the mass above it is redistributed. An immutable value.

    Exactly one of `contamination` and `gamma` is given.

    Parameters
    ----------
    contamination, gamma, redistribute, ties, nan
        See `rrm_core.reweight`.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.reweight`.
    """

    contamination: float | None = None
    gamma: float | None = None
    redistribute: Redistribute = "argmin"
    ties: Ties = "keep"
    nan: NaN = "raise"

    def __post_init__(self) -> None:
        self._check_threshold()
        self._check_ties_and_nan()
        self._check_redistribute()

    def _check_redistribute(self) -> None:
        if isinstance(self.redistribute, str):
            if self.redistribute not in ("argmin", "kept", "drop"):
                raise ValueError(
                    f"redistribute must be 'argmin', 'kept', 'drop' or a fraction in (0, 1], got {self.redistribute!r}"
                )
        else:
            fraction = as_fraction("redistribute", self.redistribute)
            if not 0 < fraction <= 1:
                raise ValueError(f"redistribute, as a fraction, must lie in (0, 1], got {self.redistribute}")
            object.__setattr__(self, "redistribute", fraction)

    def _check_threshold(self) -> None:
        if self.contamination is None and self.gamma is None:
            raise ValueError("give exactly one of contamination and gamma, got neither")
        if self.contamination is not None and self.gamma is not None:
            raise ValueError(
                "give exactly one of contamination and gamma, "
                f"got contamination={self.contamination} and gamma={self.gamma}"
            )
        if self.contamination is not None:
            contamination = as_fraction("contamination", self.contamination)
            if not 0 <= contamination < 1:
                raise ValueError(f"contamination must lie in [0, 1), got {self.contamination}; it is a share, not a %")
            object.__setattr__(self, "contamination", contamination)
        else:
            gamma = as_float("gamma", self.gamma)
            if not gamma >= 0:
                raise ValueError(f"gamma must be at least 0, got {self.gamma}")
            object.__setattr__(self, "gamma", gamma)

    def _check_ties_and_nan(self) -> None:
        if self.ties not in ("keep", "share"):
            raise ValueError(f"ties must be 'keep' or 'share', got {self.ties!r}")
        if self.nan not in ("raise", "prune"):
            raise ValueError(f"nan must be 'raise' or 'prune', got {self.nan!r}")
        if self.ties == "share" and self.gamma is not None:
            raise ValueError(
                "ties='share' needs contamination: gamma prescribes no mass that the tied samples could share, "
                f"got gamma={self.gamma}"
            )

    def quota(self, n: int) -> int:
        """Return floor(contamination * n), the number of samples to prune; 0 under the gamma rule."""
        if self.contamination is None:
            return 0
        # A contamination just below 1 can make the product round to n; at least one sample is kept.
        return min(_floor(self.contamination * n), n - 1)

    def recipient_rank(self, n: int) -> int:
        """Return m: kept samples up to the m-th smallest loss are recipients; 0 for no sample, n + 1 for all."""
        if isinstance(self.redistribute, str):
            return {"drop": 0, "argmin": 1, "kept": n + 1}[self.redistribute]
        return min(max(-_floor(-(self.redistribute * n)), 1), n)

    def ranks(self, n: int) -> tuple[int, float, int, int, str, bool]:
        """Return the arguments of the compiled backends' `Rule` for `n` samples (`Rule` in csrc/plan.h)."""
        quota = self.quota(n)
        redistribute = "recipients"
        if isinstance(self.redistribute, str) and self.redistribute != "argmin":
            redistribute = self.redistribute
        return (
            n - quota if self.gamma is None else 0,
            self.gamma or 0.0,
            self.recipient_rank(n),
            quota if self.ties == "share" else 0,
            redistribute,
            self.nan == "prune",
        )


def make_rule(
    contamination: float | None, gamma: float | None, redistribute: Redistribute, ties: Ties, nan: NaN
) -> Rule:
    """Return the rule with these parameters; the same object for the parameters of a recent call.

    Constructing a `Rule` takes longer than reweighting a few hundred samples.
    """
    try:
        return _cached_rule(contamination, gamma, redistribute, ties, nan)
    except TypeError:
        # An argument cannot be hashed, or has the wrong type: Rule raises the error that names it.
        return Rule(contamination, gamma, redistribute, ties, nan)


_cached_rule = lru_cache(maxsize=64, typed=True)(Rule)


def _floor(product: float) -> int:
    """Return floor(product); a product less than two ulps below an integer counts as that integer.

    0.29 * 100 is 28.999999999999996 in double precision. The decimal fraction and the product are rounded once each,
    so that rounding lowers the product by at most two ulps.
    """
    nearest = round(product)
    if abs(nearest - product) <= 2 * math.ulp(product):
        return nearest
    return math.floor(product)
