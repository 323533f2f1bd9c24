"""Old weights that are refused: NaN, infinite or negative, or not representable in the type of the new ones."""

from __future__ import annotations

import math
from typing import NamedTuple, NoReturn

import numpy as np

from .formats import Array


class InvalidWeights(NamedTuple):
    """Old weights that are refused.

    Attributes
    ----------
    n : int
        How many there are, at least 1.
    first : int
        Index of the first.
    value : float
        The first.
    """

    n: int
    first: int
    value: float


def find_invalid_weights(weights: Array) -> InvalidWeights | None:
    """Return the weights that are NaN, infinite or negative; None if there are none."""
    is_invalid = ~((weights >= 0) & (weights < math.inf))
    n_invalid = int(np.count_nonzero(is_invalid))
    if n_invalid == 0:
        return None
    first = int(is_invalid.argmax())
    return InvalidWeights(n_invalid, first, float(weights[first]))


def merge_invalid(one: InvalidWeights | None, other: InvalidWeights | None) -> InvalidWeights | None:
    """Return the invalid weights of two parts of the same weights; None stands for none."""
    if one is None or other is None:
        return one or other
    first = min(one, other, key=lambda part: part.first)
    return first._replace(n=one.n + other.n)


def raise_invalid_weights(
    invalid: InvalidWeights, n: int, *, written: bool, name: str = "weights", block_start: int | None = None
) -> NoReturn:
    """Raise the ValueError about old weights that are NaN, infinite or negative.

    Parameters
    ----------
    invalid : InvalidWeights
    n : int
        Number of old weights.
    written : bool
        Whether new weights have been written to `out`.
    name : str
        The argument's name in the message.
    block_start : int, optional
        Index of the first of the `n` weights, if they are a block of an array; `invalid.first` counts from there.
    """
    remedy = "pass the weights of an earlier reweight, or None for ones"
    if written:
        remedy += "; out has been written"
    location = _location(invalid, f"{invalid.value:.6g}", n, block_start)
    raise ValueError(f"{name} must be finite and at least 0, but {location}; {remedy}")


def raise_rounded_weights(rounded: InvalidWeights, n: int, *, name: str, block_start: int | None) -> NoReturn:
    """Raise the ValueError about float64 weights that are not float32 numbers.

    For the parameters see `raise_invalid_weights`; `rounded` are the weights that would be rounded.
    """
    location = _location(rounded, str(rounded.value), n, block_start)
    raise ValueError(
        f"{name} must be numbers of float32, the type of the new weights, but {location}; "
        "convert them to float32, which rounds them"
    )


def _location(invalid: InvalidWeights, value: str, n: int, block_start: int | None) -> str:
    """Return how many of `n` weights are not as they must be, and the first, as a part of a message."""
    n_invalid, first, _ = invalid
    block = ""
    if block_start is not None:
        first += block_start
        block = f" in the block from index {block_start} on"
    return f"{n_invalid:_} of {n:_}{block} are not, the first {value} at index {first}"
