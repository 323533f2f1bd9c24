"""Settings of a run: checked once, when the callback is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

import rrm_core
from rrm_core._arguments import as_integer, check_mu

Auto: TypeAlias = Literal["auto"]
Redistribute: TypeAlias = Literal["kept", "argmin", "drop"] | float
Ties: TypeAlias = Literal["keep", "share"]
Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Integers: TypeAlias = npt.NDArray[np.signedinteger[Any]]
Mask: TypeAlias = npt.NDArray[np.bool_]

AUTO: Auto = "auto"

MIN_SAMPLES = 100
"""Fewest samples from which a share of wrong labels is estimated, or the end of a warm-up is found."""

LONGEST_WARMUP = 10
"""Epochs of a warm-up that is not given, where the contamination is a number."""

LONGEST_PART = 3
"""A warm-up that is not given, or ends by itself, lasts one in so many of the planned epochs at most."""


@dataclass(frozen=True)
class Settings:
    """When and how the samples are reweighted.

    Attributes
    ----------
    n : int
        Number of samples.
    rule : rrm_core.Rule
        With contamination 0 if that is estimated.
    is_estimated : bool
        Whether the contamination is estimated at the end of the warm-up.
    warmup : int, "auto" or None
        In epochs; None stands for a third of the run, at most `LONGEST_WARMUP`.
    every : int
        Epochs from one reweight to the next.
    mu : float
        Step size.
    groups : rrm_core.Groups or None
    seed : int
        Which samples a warm-up holds out.
    """

    n: int
    rule: rrm_core.Rule
    is_estimated: bool
    warmup: int | Auto | None
    every: int
    mu: float
    groups: rrm_core.Groups | None
    seed: int

    @property
    def needs_predictions(self) -> bool:
        """Whether the warm-up holds out samples, and needs predictions of classes."""
        return self.is_estimated or self.warmup == AUTO

    @property
    def reason_for_predictions(self) -> str:
        """The setting that needs predictions, for messages."""
        return "contamination='auto'" if self.is_estimated else "warmup='auto'"

    def warmup_of(self, epochs: int) -> int | Auto:
        """Return the warm-up of a run of so many planned epochs."""
        if self.warmup is None:
            return min(LONGEST_WARMUP, max(1, epochs // LONGEST_PART))
        return self.warmup

    def arguments(self, contamination: float | None) -> dict[str, Any]:
        """Return the arguments of `rrm_core.reweight`; a contamination that is not None replaces that of the rule."""
        share: Any = self.rule.contamination
        if contamination is not None:
            share = contamination
        arguments: dict[str, Any] = {
            "contamination": share,
            "redistribute": self.rule.redistribute,
            "ties": self.rule.ties,
            "mu": self.mu,
        }
        if self.rule.cap is not None:
            arguments["cap"] = self.rule.cap
        return arguments

    def describe(self) -> str:
        """Return a text that tells settings apart, for a saved state."""
        groups = None if self.groups is None else self.groups.numbers.tolist()
        return repr((self.n, self.rule, self.is_estimated, self.warmup, self.every, self.mu, self.seed, groups))


def make_settings(
    n: int,
    *,
    contamination: float | Sequence[float] | npt.ArrayLike | Auto,
    warmup: int | Auto | None,
    every: int,
    mu: float,
    redistribute: Redistribute,
    ties: Ties,
    groups: Any,
    cap: float | npt.ArrayLike | None,
    seed: int,
) -> Settings:
    """Return the settings with these arguments of the callback.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value, or the samples are too few for the contamination to prune one.
    """
    is_estimated = isinstance(contamination, str)
    if is_estimated and contamination != AUTO:
        raise ValueError(f"contamination must be 'auto' or a share in [0, 1), got {contamination!r}")
    share: Any = 0.0 if is_estimated else contamination
    bound: Any = cap
    rule = rrm_core.Rule(contamination=share, redistribute=redistribute, ties=ties, cap=bound)
    if isinstance(warmup, str):
        if warmup != AUTO:
            raise ValueError(f"warmup must be 'auto' or a number of epochs, got {warmup!r}")
    elif warmup is not None:
        warmup = as_integer("warmup", warmup, 1, "'auto' or a number of epochs, at least 1")
    elif is_estimated:
        warmup = AUTO
    settings = Settings(
        n=n,
        rule=rule,
        is_estimated=is_estimated,
        warmup=warmup,
        every=as_integer("every", every, 1, "a number of epochs, at least 1"),
        mu=check_mu(mu),
        groups=_prepare_groups(groups, rule, n),
        seed=as_integer("seed", seed, 0, "a whole number, at least 0"),
    )
    _check_number_of_samples(settings)
    return settings


def _prepare_groups(groups: Any, rule: rrm_core.Rule, n: int) -> rrm_core.Groups | None:
    """Return the groups; raise if they and the rule do not fit each other."""
    if groups is None:
        rule.check_without_groups()
        return None
    if rule.n_groups is None and rule.cap is None:
        raise ValueError("groups needs a cap, or a contamination for each group; leave it out otherwise")
    prepared = groups if isinstance(groups, rrm_core.Groups) else rrm_core.Groups(groups, rule.n_groups)
    if len(prepared) != n:
        raise ValueError(f"groups must have one number for each of the {n} samples, got {len(prepared)}")
    rule.check_n_groups(prepared.n_groups)
    return prepared


def _check_number_of_samples(settings: Settings) -> None:
    """Raise a ValueError if there are too few samples for an estimate, or to prune one."""
    n = settings.n
    if settings.needs_predictions and n < MIN_SAMPLES:
        raise ValueError(
            f"{n} samples are too few for {settings.reason_for_predictions}, which needs at least {MIN_SAMPLES}; give "
            "contamination and warmup as numbers"
        )
    share = settings.rule.contamination
    if isinstance(share, float) and share > 0 and not settings.rule.quota(n):
        raise ValueError(
            f"{n} samples are too few for contamination={share:g}: it would prune less than one; give at least "
            f"{1 / n:.3g}, or 0 to prune none"
        )
