"""What is known of a kind of arrays outside the array API, whose values NumPy can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn


class HostValues(NamedTuple):
    """The values of an array as a NumPy array, without a copy where that is possible.

    Attributes
    ----------
    values : NumPy array
        Of bfloat16 either ml_dtypes' type or the bits, uint16.
    dtype : np.dtype or str
        The type of the values. A name stands for bits of bfloat16, and for a type that NumPy does not have.
    """

    values: Any
    dtype: Any


def _on_cpu(_: Any) -> str:
    return "cpu"


@dataclass(frozen=True)
class HostKind:
    """A kind of arrays.

    Attributes
    ----------
    label : str
        What one is called in messages.
    read : callable
        ``read(name, x)`` returns the values of the array `x`, an argument called `name`, or raises an error.
    rebuild : callable
        ``rebuild(weights, like)`` returns a NumPy array of new weights as an array of this kind, with the labels of
        `like`.
    framework : str
        Arrays of different frameworks can't be mixed in one call; those of ``"numpy"`` can.
    device_of : callable
        Returns the device of an array.
    is_writable : bool
        Whether the values are a view of the caller's memory, which `out` may be.
    labels_differ : callable, optional
        ``labels_differ(x, y)`` returns in words how the labels of the samples of two arrays differ; None if they do
        not. Without it, arrays of this kind have no labels.
    """

    label: str
    read: Callable[[str, Any], HostValues]
    rebuild: Callable[[Any, Any], Any]
    framework: str = "numpy"
    device_of: Callable[[Any], Any] = _on_cpu
    is_writable: bool = False
    labels_differ: Callable[[Any, Any], str | None] | None = None


def refuse(what: str, remedy: str) -> HostKind:
    """Return a kind of arrays that are refused: with what they are, and a remedy, which may contain ``{name}``."""

    def read(name: str, x: Any) -> NoReturn:
        raise TypeError(f"{name} is {what}, got {type(x).__name__}; {remedy.format(name=name)}")

    def rebuild(weights: Any, like: Any) -> NoReturn:
        raise NotImplementedError

    return HostKind(what, read, rebuild)


def check_no_missing(name: str, n_missing: int, n: int, filled: str) -> None:
    """Raise a ValueError if values of an argument are missing; `filled` is code that replaces them by NaN."""
    if n_missing:
        raise ValueError(
            f"{name} has {n_missing:_} missing values among {n:_}; leave these samples out, or pass "
            f"{filled.format(name=name)}, whose NaN are pruned with nan='prune'"
        )
