"""Ramps: weights of a loss term that rise in the course of training."""

from __future__ import annotations

import math


def linear_ramp(progress: float, length: float) -> float:
    """Return ``progress / length``, at least 0 and at most 1."""
    return min(1.0, max(0.0, progress / length))


def exponential_ramp(progress: float, length: float) -> float:
    """Return ``exp(-5 (1 - t) ** 2)``, where t is `linear_ramp` (Laine and Aila, ICLR 2017); 1 without a length."""
    if length == 0:
        return 1.0
    remaining = 1 - linear_ramp(progress, length)
    return math.exp(-5 * remaining**2)
