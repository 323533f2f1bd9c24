"""Argument checks that several rooms share."""

from __future__ import annotations

from numbers import Real
from operator import index


def check_count(name: str, value: object) -> int:
    """Return an integer of at least 1.

    Raises
    ------
    TypeError, ValueError
        `value` is not an integer, or below 1.
    """
    try:
        count = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if isinstance(value, bool) or count < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return count


def check_mu(mu: object) -> float:
    """Return a step from the current weights to the new ones as a float in (0, 1].

    Raises
    ------
    TypeError, ValueError
        `mu` is not a number, or outside (0, 1].
    """
    if isinstance(mu, bool) or not isinstance(mu, Real):
        raise TypeError(f"mu must be a number, got {mu!r} of type {type(mu).__name__}")
    if not 0 < float(mu) <= 1:
        raise ValueError(f"mu must lie in (0, 1], got {mu}")
    return float(mu)
