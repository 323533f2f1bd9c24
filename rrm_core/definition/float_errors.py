"""Independence from `np.seterr`: what the caller set for his own arithmetic must not fail a call of this library."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def ignore_float_errors(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Decorate a function that computes with NumPy: overflow, underflow and NaN neither raise nor warn in it.

    Their results are intended. `np.errstate` itself, as a decorator, is not safe among threads before NumPy 2.
    """

    @wraps(function)
    def quiet(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return quiet
