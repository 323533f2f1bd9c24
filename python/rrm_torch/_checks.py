"""Argument checks that several packages share."""

from __future__ import annotations

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


def column_remedy(name: str, shape: tuple[int, ...]) -> str:
    """Return what an error message adds about labels of shape (n, 1); otherwise an empty string."""
    if len(shape) == 2 and shape[1] == 1:
        return f"; labels in a column are {name}[:, 0]"
    return ""
