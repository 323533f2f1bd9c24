"""Rule: the parameters of a reweight, validated once; and the integer ranks that follow from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from types import NoneType
from typing import Any, Literal, TypeAlias

import numpy as np

from .._arguments import as_float, as_fraction, as_fractions
from .formats import Array

Ties: TypeAlias = Literal["keep", "share"]
NaN: TypeAlias = Literal["raise", "prune"]
Redistribute: TypeAlias = Literal["argmin", "kept", "drop"] | float
Mass: TypeAlias = Literal["all", "group"]


@dataclass(frozen=True)
class Rule:
    """How the threshold is chosen and how the mass above it is redistributed. An immutable value.

    Exactly one of `contamination` and `gamma` is given.

    Parameters
    ----------
    contamination, gamma, redistribute, ties, nan, cap, mass
        See `rrm_core.reweight`. An array with one number per group becomes a tuple of floats.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.reweight`.
    """

    contamination: float | tuple[float, ...] | None = None
    gamma: float | None = None
    redistribute: Redistribute = "argmin"
    ties: Ties = "keep"
    nan: NaN = "raise"
    cap: float | tuple[float, ...] | None = None
    mass: Mass = "all"

    def __post_init__(self) -> None:
        self._check_threshold()
        self._check_cap_and_mass()
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
            object.__setattr__(self, "contamination", _check_shares("contamination", self.contamination))
        else:
            gamma = as_float("gamma", self.gamma)
            if not gamma >= 0:
                raise ValueError(f"gamma must be at least 0, got {self.gamma}")
            object.__setattr__(self, "gamma", gamma)

    def _check_cap_and_mass(self) -> None:
        if self.mass not in ("all", "group"):
            raise ValueError(f"mass must be 'all' or 'group', got {self.mass!r}")
        if self.cap is None:
            return
        if self.contamination is None:
            raise ValueError(f"cap needs contamination: it limits the share that this prunes, got gamma={self.gamma}")
        if isinstance(self.contamination, tuple):
            raise ValueError(
                "cap needs one contamination for all groups, got an array, which limits what is pruned of each group"
            )
        object.__setattr__(self, "cap", _check_shares("cap", self.cap))

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
        if self.ties == "share" and self.cap is not None:
            raise ValueError(
                "ties='share' needs a contamination without cap: where the cap of a group binds, it prescribes no mass "
                "that the tied samples could share"
            )

    @property
    def group_shares(self) -> float | tuple[float, ...] | None:
        """The largest share of a group that its own threshold prunes: one for all, or one per group; None if none."""
        return self.contamination if isinstance(self.contamination, tuple) else self.cap

    @property
    def n_groups(self) -> int | None:
        """Number of groups for which there are shares; None if they are the same for all groups."""
        shares = self.group_shares
        return len(shares) if isinstance(shares, tuple) else None

    def check_without_groups(self) -> None:
        """Raise a ValueError if this rule is one for groups."""
        if isinstance(self.contamination, tuple):
            raise ValueError(f"contamination has {len(self.contamination):_} values, one per group, but groups is None")
        if self.cap is not None:
            raise ValueError(f"cap needs groups: it limits the share of each that is pruned, got cap={self.cap}")
        if self.mass == "group":
            raise ValueError("mass='group' needs groups, which keep the mass of their pruned samples")

    def check_n_groups(self, n_groups: int) -> None:
        """Raise a ValueError if this rule has numbers for another number of groups."""
        for name, shares in (("contamination", self.contamination), ("cap", self.cap)):
            if isinstance(shares, tuple) and len(shares) != n_groups:
                raise ValueError(f"{name} must have one value per group, got {len(shares):_} for {n_groups:_} groups")

    def group_ranks(self, sizes: Array) -> Array:
        """Return the ranks, within each group, of the groups' own thresholds; 0 for an empty group.

        Parameters
        ----------
        sizes : int64 array of shape (G,)
            Number of samples of each group.
        """
        # A share just below 1 can make the product round to the size; at least one sample is kept.
        quotas = np.minimum(_floors(np.asarray(self.group_shares) * sizes), sizes - 1)
        return np.where(sizes > 0, sizes - quotas, 0)

    def quota(self, n: int) -> int:
        """Return floor(contamination * n), the number of samples to prune; 0 under the gamma rule."""
        if self.contamination is None:
            return 0
        assert not isinstance(self.contamination, tuple)
        # A contamination just below 1 can make the product round to n; at least one sample is kept.
        return min(_floor(self.contamination * n), n - 1)

    def recipient_rank(self, n: int) -> int:
        """Return m: kept samples up to the m-th smallest loss are recipients; 0 for no sample, n + 1 for all."""
        if isinstance(self.redistribute, str):
            return {"drop": 0, "argmin": 1, "kept": n + 1}[self.redistribute]
        return min(max(-_floor(-(self.redistribute * n)), 1), n)

    def recipient_ranks(self, sizes: Array) -> Array:
        """Return `recipient_rank` of each group, a fraction being that of its own samples; 0 for an empty group."""
        if isinstance(self.redistribute, str):
            ranks = np.broadcast_to({"drop": 0, "argmin": 1}.get(self.redistribute, sizes + 1), sizes.shape)
        else:
            ranks = np.clip(-_floors(-(self.redistribute * sizes)), 1, sizes)
        return np.where(sizes > 0, ranks, 0)

    @property
    def kernel_redistribute(self) -> Literal["recipients", "kept", "drop"]:
        """The way to redistribute, as the compiled backends distinguish it."""
        return self.redistribute if self.redistribute in ("kept", "drop") else "recipients"

    def ranks(self, n: int) -> tuple[int, float, int, int, str, bool]:
        """Return the arguments of the compiled backends' `Rule` for `n` samples (`Rule` in csrc/plan.h)."""
        quota = self.quota(n)
        return (
            n - quota if self.gamma is None else 0,
            self.gamma or 0.0,
            self.recipient_rank(n),
            quota if self.ties == "share" else 0,
            self.kernel_redistribute,
            self.nan == "prune",
        )


def make_rule(
    contamination: Any,
    gamma: float | None,
    redistribute: Redistribute,
    ties: Ties,
    nan: NaN,
    cap: Any = None,
    mass: Mass = "all",
) -> Rule:
    """Return the rule with these parameters, for losses without groups; the same object as in a recent call.

    Constructing a `Rule` takes longer than reweighting a few hundred samples.
    """
    try:
        if cap is None and mass == "all":
            return _cached_rule(contamination, gamma, redistribute, ties, nan)
    except TypeError:
        # An argument cannot be hashed, or has the wrong type: Rule raises the error that names it.
        pass
    return _rule_without_groups(contamination, gamma, redistribute, ties, nan, cap, mass)


def make_grouped_rule(
    contamination: Any, gamma: float | None, redistribute: Redistribute, ties: Ties, nan: NaN, cap: Any, mass: Mass
) -> Rule:
    """Return the rule with these parameters, for losses with groups; the same object as in a recent call."""
    # Arrays cannot be hashed, or are by identity, as tensors: then a change of their numbers would not be noticed.
    if not isinstance(contamination, (float, int, tuple, NoneType)):
        contamination = as_fractions("contamination", contamination)
    if not isinstance(cap, (float, int, tuple, NoneType)):
        cap = as_fractions("cap", cap)
    try:
        return _cached_grouped_rule(contamination, gamma, redistribute, ties, nan, cap, mass)
    except TypeError:
        return Rule(contamination, gamma, redistribute, ties, nan, cap, mass)


def _rule_without_groups(*arguments: Any) -> Rule:
    rule = Rule(*arguments)
    rule.check_without_groups()
    return rule


_cached_rule = lru_cache(maxsize=64, typed=True)(_rule_without_groups)
_cached_grouped_rule = lru_cache(maxsize=64, typed=True)(Rule)


def _check_shares(name: str, value: object) -> float | tuple[float, ...]:
    """Return shares in [0, 1): one, or one per group."""
    shares = as_fractions(name, value)
    if isinstance(shares, float):
        if not 0 <= shares < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {value}; it is a share, not a %")
        return shares
    for group, share in enumerate(shares):
        if not 0 <= share < 1:
            raise ValueError(f"{name} must lie in [0, 1), got {share} for group {group}; it is a share, not a %")
    return shares


def _floor(product: float) -> int:
    """Return floor(product); a product less than two ulps below an integer counts as that integer.

    0.29 * 100 is 28.999999999999996 in double precision. The decimal fraction and the product are rounded once each,
    so that rounding lowers the product by at most two ulps.
    """
    nearest = round(product)
    if abs(nearest - product) <= 2 * math.ulp(product):
        return nearest
    return math.floor(product)


def _floors(products: Array) -> Array:
    """Return `_floor` of each product, as int64."""
    nearest = np.rint(products)
    is_near = np.abs(nearest - products) <= 2 * np.spacing(np.abs(products))
    return np.where(is_near, nearest, np.floor(products)).astype(np.int64)
