"""What the confident joint says of the wrong labels: their classes and pairs, and whether they look random."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Kind: TypeAlias = Literal["random", "partly systematic", "systematic", "unknown"]
Numbers: TypeAlias = npt.NDArray[np.float64]

MIN_COUNT = 5
"""Fewest suspicious labels of a class or pair that are reported."""

STANDARD_ERRORS = 3
"""A class, a pair or a concentration that differs from what is expected by more standard errors is reported."""

MIN_CONTRADICTIONS = 20
"""With fewer, random and systematic errors can't be told apart."""

NOTABLE_EXCESS = 0.05
SYSTEMATIC_EXCESS = 0.5
"""Random flips have an excess of up to 0.03, the human mistakes of CIFAR-10N 0.12 to 0.16, pair noise 0.6 to 0.8."""

LARGEST_ERROR = 0.15
"""Errors are called random only if an excess above this would have been seen."""


@dataclass(frozen=True)
class ClassShare:
    """How many labels of a given class are suspicious: contradicted, or pruned.

    Attributes
    ----------
    name : str
    n : int
        Labels of this class.
    n_suspicious : int
    """

    name: str
    n: int
    n_suspicious: int

    @property
    def share(self) -> float:
        """The suspicious share of the class."""
        return self.n_suspicious / self.n


@dataclass(frozen=True)
class PairCount:
    """How often a given class is contradicted by a predicted one.

    Attributes
    ----------
    given, predicted : str
    n : int
    n_contradicted : int
        Labels of the given class that are contradicted by any class.
    """

    given: str
    predicted: str
    n: int
    n_contradicted: int


@dataclass(frozen=True)
class ErrorKind:
    """Whether the contradicted labels look random.

    Attributes
    ----------
    kind : {"random", "partly systematic", "systematic", "unknown"}
    n : int
        Contradicted labels.
    concentration : float or None
        The share of pairs of contradicted labels of one given class that have the same predicted class.
    expected, standard_error : float or None
        Its mean and standard deviation if wrong labels were replaced at random: then a given class is contradicted by
        the others in proportion to how often these are predicted. The mean is 1 with two classes.
    """

    kind: Kind
    n: int
    concentration: float | None = None
    expected: float | None = None
    standard_error: float | None = None


class JointCounts:
    """The confident joint as counts.

    Parameters
    ----------
    pairs : int64 array of shape (m, 3)
        See `rrm_core.ContaminationEstimate`.
    name_of : callable
        Returns the name of a class.
    """

    def __init__(self, pairs: npt.NDArray[np.int64], name_of: Callable[[int], str]) -> None:
        n_classes = int(pairs[:, :2].max(initial=-1)) + 1
        given, predicted, counts = pairs.T
        self.name_of = name_of
        self.n = _sums(given, counts, n_classes)
        self._n_predicted = _sums(predicted, counts, n_classes)
        self.errors = pairs[given != predicted]
        self.n_contradicted = _sums(self.errors[:, 0], self.errors[:, 2], n_classes)

    @property
    def n_classes(self) -> int:
        """Number of classes that were predicted, or given and contradicted."""
        return int(np.count_nonzero((self._n_predicted > 0) | (self.n_contradicted > 0)))

    def outlying_classes(self) -> tuple[ClassShare, ...]:
        """Return the given classes that are contradicted more often than all together, the highest share first."""
        return outlying_classes(self.n, self.n_contradicted, self.name_of)

    def outlying_pairs(self) -> tuple[PairCount, ...]:
        """Return the pairs that occur more often than if labels were replaced at random, the most frequent first."""
        given, predicted, counts = self.errors.T
        n = self.n_contradicted[given]
        chance = self._n_predicted[predicted] / (self._n_predicted.sum() - self._n_predicted[given])
        is_high = _is_high(counts, n, chance)
        order = np.argsort(-counts[is_high], kind="stable")
        return tuple(
            PairCount(self.name_of(int(i)), self.name_of(int(j)), int(count), int(self.n_contradicted[i]))
            for i, j, count in self.errors[is_high][order]
        )

    def error_kind(self) -> ErrorKind:
        """Return whether the contradicted labels of each class have one predicted class more often than by chance.

        Notes
        -----
        Of the m contradicted labels of a class, each with predicted class j at probability q_j by chance, the number of
        pairs with equal classes has the mean ``m (m - 1) / 2 * P2`` and the variance
        ``m (m - 1) / 2 * (P2 - P2**2) + m (m - 1) (m - 2) * (P3 - P2**2)``, with ``P2 = sum(q**2)`` and
        ``P3 = sum(q**3)``. The excess is the concentration above the expected one, over the largest possible excess.
        """
        m = self.n_contradicted
        n_pairs = m * (m - 1) / 2
        total = float(n_pairs.sum())
        n = int(m.sum())
        if n < MIN_CONTRADICTIONS or total == 0:
            return ErrorKind("unknown", n)
        p2 = self._chance_moment(2)
        p3 = self._chance_moment(3)
        counts = self.errors[:, 2]
        concentration = float((counts * (counts - 1) / 2).sum()) / total
        expected = float((n_pairs * p2).sum()) / total
        variance = n_pairs * (p2 - p2**2) + m * (m - 1) * (m - 2) * (p3 - p2**2)
        error = math.sqrt(max(float(variance.sum()), 0.0)) / total
        kind: Kind = "unknown"
        if expected < 1:
            kind = _kind((concentration - expected) / (1 - expected), STANDARD_ERRORS * error / (1 - expected))
        return ErrorKind(kind, n, concentration, expected, error)

    def _chance_moment(self, power: int) -> Numbers:
        """Return the sum of ``q**power`` over the other classes, of each given class; 0 where it isn't contradicted."""
        columns = self._n_predicted
        others = columns.sum() - columns
        moments = np.zeros(len(columns))
        has_errors = self.n_contradicted > 0
        powers = (columns**power).sum() - columns**power
        moments[has_errors] = powers[has_errors] / others[has_errors] ** power
        return moments


def outlying_classes(n: Numbers, n_suspicious: Numbers, name_of: Callable[[int], str]) -> tuple[ClassShare, ...]:
    """Return the classes of which clearly more is suspicious than of all together, the highest share first."""
    overall = n_suspicious.sum() / max(n.sum(), 1)
    found = np.flatnonzero(_is_high(n_suspicious, n, overall))
    shares = [ClassShare(name_of(int(k)), int(n[k]), int(n_suspicious[k])) for k in found]
    return tuple(sorted(shares, key=lambda entry: -entry.share))


def _is_high(counts: Any, n: Numbers, chance: Any) -> npt.NDArray[np.bool_]:
    """Return which of some binomial counts out of n exceed chance by more than the `STANDARD_ERRORS`."""
    error = np.sqrt(n * chance * (1 - chance))
    is_high: npt.NDArray[np.bool_] = (counts >= MIN_COUNT) & (counts > n * chance + STANDARD_ERRORS * error)
    return is_high


def _kind(excess: float, margin: float) -> Kind:
    """Return the kind of errors with an excess that is known to within a margin."""
    if excess > max(margin, NOTABLE_EXCESS):
        return "systematic" if excess >= SYSTEMATIC_EXCESS else "partly systematic"
    if margin > LARGEST_ERROR:
        return "unknown"
    return "random"


def _sums(classes: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], n_classes: int) -> Numbers:
    """Return the sum of the counts of each class, as float64, whose squares don't overflow."""
    return np.bincount(classes, weights=counts, minlength=n_classes).astype(np.float64)
