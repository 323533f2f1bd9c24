"""Settings of a fit: checked once, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import rrm_core
from rrm_core._arguments import as_integer, check_mu

Redistribute: TypeAlias = Literal["kept", "argmin", "drop"] | float
Ties: TypeAlias = Literal["keep", "share"]
RankBy: TypeAlias = Literal["noise-aware", "loss"]
Auto: TypeAlias = Literal["auto"]

AUTO: Auto = "auto"


@dataclass(frozen=True)
class Settings:
    """How the rounds of a fit reweight the samples.

    Attributes
    ----------
    rule : rrm_core.Rule
        With contamination 0 if that is estimated.
    is_estimated : bool
        Whether the contamination is estimated in the first round.
    rounds : int
    mu : float
    """

    rule: rrm_core.Rule
    is_estimated: bool
    rounds: int
    mu: float

    def arguments(self, contamination: float | None = None) -> dict[str, Any]:
        """Return the arguments of `rrm_core.reweight`; an estimated contamination replaces that of the rule."""
        if contamination is None:
            assert isinstance(self.rule.contamination, float)
            contamination = self.rule.contamination
        return {
            "contamination": contamination,
            "redistribute": self.rule.redistribute,
            "ties": self.rule.ties,
            "mu": self.mu,
        }


def make_settings(
    contamination: object, rounds: int, mu: float, redistribute: Redistribute, ties: Ties, cap: float | None
) -> Settings:
    """Return the settings with these arguments of an estimator.

    Raises
    ------
    TypeError, ValueError
        A setting has the wrong type or value.
    """
    is_estimated = isinstance(contamination, str)
    if contamination is None or (is_estimated and contamination != AUTO):
        raise ValueError(f"contamination must be a share in [0, 1) or 'auto', got {contamination!r}")
    share: Any = contamination
    if is_estimated:
        share = 0.0
    rule = rrm_core.Rule(contamination=share, redistribute=redistribute, ties=ties, cap=cap)
    for name in ("contamination", "cap"):
        if isinstance(getattr(rule, name), tuple):
            raise TypeError(f"{name} must be one number, got an array: {getattr(rule, name)}")
    return Settings(
        rule=rule,
        is_estimated=is_estimated,
        rounds=as_integer("rounds", rounds, 1, "a whole number, at least 1"),
        mu=check_mu(mu),
    )
