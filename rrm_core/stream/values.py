"""What a source holds: floating-point losses and weights, or integer numbers of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..arrays.convert import to_host
from ..arrays.groups import to_host_integers
from ..definition.formats import BY_NAME, Array, Format


class IntegerType(NamedTuple):
    """A type of integers, with the attributes of `Format` that a source needs."""

    name: str
    storage: np.dtype[Any]


ElementType: TypeAlias = Format | IntegerType


class Values:
    """Floating-point numbers in files: losses or weights.

    Attributes
    ----------
    types : mapping of str to ElementType
        The types, by their names in NumPy, Parquet and Arrow.
    expected : str
        The types, for messages.
    held : str
        What the numbers are, for messages.
    remedy : str
        What to do about others, for messages.
    """

    types: Mapping[str, ElementType] = {name: BY_NAME[name] for name in ("float16", "float32", "float64")}
    expected = "float16, float32 or float64"
    described = "floating-point numbers"
    held = "losses or weights"
    remedy = "convert them to float32"

    def to_host(self, name: str, x: Any) -> tuple[Any, ElementType]:
        """Return a NumPy view of an argument, which may be empty, and its type."""
        return to_host(name, x)

    def fill_nulls(self, name: str, values: Array, is_null: Array, start: int) -> None:  # noqa: ARG002
        """Replace nulls by NaN."""
        values[is_null] = np.nan


class GroupValues(Values):
    """Numbers of groups in files."""

    types: Mapping[str, ElementType] = {
        f"{sign}int{8 << i}": IntegerType(f"{sign}int{8 << i}", np.dtype(f"{sign}int{8 << i}"))
        for sign in ("", "u")
        for i in range(4)
    }
    expected = "integers"
    described = "integers"
    held = "numbers of groups"
    remedy = "number the groups 0, 1, 2, ..."

    def to_host(self, name: str, x: Any) -> tuple[Any, ElementType]:
        """Return a NumPy array of an argument, which may be empty, and its type."""
        numbers = to_host_integers(name, x)
        return numbers, self.types[numbers.dtype.name]

    def fill_nulls(self, name: str, values: Array, is_null: Array, start: int) -> None:  # noqa: ARG002
        """Raise a ValueError if there are nulls."""
        if is_null.any():
            raise ValueError(f"{name} has a null in row {start + int(is_null.argmax())}; give every sample a group")


FLOATS = Values()
INTEGERS = GroupValues()
