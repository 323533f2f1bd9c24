"""Scalar arguments: validated, converted, or refused with the argument's name and value."""

from __future__ import annotations

import math
from numbers import Real
from operator import index
from typing import SupportsIndex, cast

import numpy as np

MAX_THREADS = 1 << 16
MAX_CONTAMINATION = math.nextafter(1.0, 0.0)
"""The largest contamination, which is below 1: it prunes all samples of a group but one, however large the group is."""

NO_ESTIMATE = (
    "losses alone don't tell how many labels are wrong; rrm_core.estimate_contamination estimates it from a model's "
    "predictions, and rrm_torch.RRM, rrm_sklearn and rrm_keras do so while they train"
)
"""Why ``"auto"`` is no contamination here, and what to do."""


def as_float(name: str, value: object) -> float:
    """Return `value` as a float.

    Raises
    ------
    TypeError
        `value` is not a real number, or it is a bool.
    ValueError
        `value` is too large for a float.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a number that a double can hold, got one of 10**308 or more") from None


def as_fraction(name: str, value: object) -> float:
    """Return a fraction as a float; one in half or single precision as the decimal it was written as, 0.7 as 0.7."""
    if isinstance(value, np.floating) and value.dtype.itemsize < 8:
        return float(str(value))
    return as_float(name, value)


def as_fractions(name: str, value: object) -> float | tuple[float, ...]:
    """Return a fraction as `as_fraction` does, or a one-dimensional array of fractions as a tuple of floats.

    Raises
    ------
    TypeError
        `value` is neither a number nor an array of numbers.
    ValueError
        `value` has another number of dimensions, or no element.
    """
    if name == "contamination" and isinstance(value, str) and value == "auto":
        raise TypeError(f"{name} must be a number, got 'auto': {NO_ESTIMATE}")
    if isinstance(value, (Real, str)):
        return as_fraction(name, value)
    try:
        values = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        # A ragged list, or a tensor that is on a device or requires a gradient.
        raise TypeError(f"{name} must be a number or an array of numbers, one per group: {error}") from None
    if values.ndim == 0 and values.dtype.kind != "O":
        return as_fraction(name, value)
    if values.dtype.kind not in "iuf":
        raise TypeError(
            f"{name} must be a number or an array of numbers, one per group, got {value!r} of type "
            f"{type(value).__name__}"
        )
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name} must be a number or an array of shape (n_groups,), got shape {values.shape}")
    if values.dtype.kind == "f" and values.itemsize < 8:
        # The decimals as which they were written, see `as_fraction`.
        values = values.astype(str)
    return tuple(values.astype(np.float64).tolist())


def as_integer(name: str, value: object, minimum: int, requirement: str) -> int:
    """Return a whole number of at least `minimum`; `requirement` describes it in the message.

    Raises
    ------
    ValueError
        `value` is another number, or something else, such as a bool.
    """
    try:
        number = index(cast(SupportsIndex, value))
    except TypeError:
        number = minimum - 1
    if number < minimum or isinstance(value, bool):
        raise ValueError(f"{name} must be {requirement}, got {value!r}")
    return number


def check_mu(mu: object) -> float:
    """Return the step size `mu` as a float.

    Raises
    ------
    TypeError
        `mu` is not a number.
    ValueError
        `mu` lies outside (0, 1].
    """
    # The usual type first: isinstance(mu, Real) is several times slower.
    step = mu if type(mu) is float else as_float("mu", mu)
    if not 0 < step <= 1:
        raise ValueError(f"mu must lie in (0, 1], got {mu}")
    return step


def check_threads(threads: int | None) -> int | None:
    """Return a number of threads, at most `MAX_THREADS`; None stands for the default.

    Raises
    ------
    ValueError
        `threads` is not a whole number of at least 1.
    """
    # The usual case first: it is part of every call.
    if type(threads) is int and 0 < threads <= MAX_THREADS:
        return threads
    if threads is None:
        return None
    return min(as_integer("threads", threads, 1, "a whole number, at least 1, or None"), MAX_THREADS)
