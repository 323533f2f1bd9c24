"""Checks of the settings that several methods have."""

from __future__ import annotations

from .._checks import check_count


def check_batch_size(size: int, name: str = "batch_size") -> None:
    """Raise unless a batch holds at least two samples, which batch norm needs.

    Raises
    ------
    TypeError, ValueError
        `size` is not an integer, or below 2.
    """
    if check_count(name, size) < 2:
        raise ValueError(f"{name} must be at least 2, got {size}")


def check_above_zero(name: str, value: float, unit: str = "") -> None:
    """Raise a ValueError unless a setting, such as a temperature or a number of epochs, is above 0."""
    if not value > 0:
        raise ValueError(f"{name} must be above 0{unit}, got {value}")


def check_weight(name: str, value: float) -> None:
    """Raise a ValueError unless the weight of a term of a loss is finite and at least 0."""
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be finite and at least 0, got {value}")
