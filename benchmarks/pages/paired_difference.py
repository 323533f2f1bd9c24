"""By how much one method exceeds another with the same seeds, and whether that may be chance."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.pages.experiment_record import spread

WITHIN_NOISE = "within noise"
NOTE = (
    f"the mean of the differences by seed, in points, with its standard error; {WITHIN_NOISE} if it is at most two of "
    "them."
)
"""What `PairedDifference.cell` shows."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of differences by seed.

    Attributes
    ----------
    mean : float
    standard_error : float or None
        None of a single seed.
    """

    mean: float
    standard_error: float | None

    @property
    def is_within_noise(self) -> bool:
        """Whether the mean is at most two standard errors away from 0; False if there is no standard error."""
        return self.standard_error is not None and abs(self.mean) <= 2 * self.standard_error

    @property
    def points(self) -> str:
        """The mean in percentage points."""
        return spread([self.mean], sign="+")

    @property
    def cell(self) -> str:
        """The mean in percentage points, its standard error, and whether it is within noise."""
        text = self.points
        if self.standard_error is not None:
            text += f" ± {100 * self.standard_error:.1f}"
        if self.is_within_noise:
            text += f", {WITHIN_NOISE}"
        return text


def paired_difference(values: Sequence[float], others: Sequence[float]) -> PairedDifference:
    """Return the mean of ``values - others``.

    Parameters
    ----------
    values, others : sequence of float
        Of the same seeds, in the same order.

    Raises
    ------
    ValueError
        One is longer than the other.
    """
    differences = [value - other for value, other in zip(values, others, strict=True)]
    standard_error = None
    if len(differences) > 1:
        standard_error = statistics.stdev(differences) / math.sqrt(len(differences))
    return PairedDifference(statistics.mean(differences), standard_error)
