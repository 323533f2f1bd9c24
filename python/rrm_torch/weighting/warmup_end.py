"""When a warm-up ends: once the agreement of held-out predictions with their labels has stopped rising."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MIN_ROUNDS = 3
WINDOW = 3
PATIENCE = 3
NOTABLE_RISE = 0.04
"""A rise of the agreement in `WINDOW` rounds that shows a model which is still learning."""

MIN_CALLS = 100
"""Calls of `weighted_mean` that the patience covers at least, so that it is no shorter on small sets."""


@dataclass(frozen=True)
class Agreement:
    """How many held-out samples were predicted as labelled, by round.

    Attributes
    ----------
    seen, agreed : tuple of int
        In each round, the number of held-out samples that were predicted, and of those predicted as labelled.
    n_calls : int
        Calls of `weighted_mean` in all rounds.
    """

    seen: tuple[int, ...] = ()
    agreed: tuple[int, ...] = ()
    n_calls: int = 0

    def extended(self, seen: Sequence[int], agreed: Sequence[int], n_calls: int) -> Agreement:
        """Return the agreement with further rounds, in which there were `n_calls` more calls."""
        return Agreement((*self.seen, *seen), (*self.agreed, *agreed), self.n_calls + n_calls)

    @property
    def n_rounds(self) -> int:
        """Number of rounds."""
        return len(self.seen)

    def smoothed(self) -> list[float]:
        """Return the share that agreed in each round and the `WINDOW - 1` before it; 0 if none was seen."""
        shares = []
        for end in range(1, self.n_rounds + 1):
            start = max(end - WINDOW, 0)
            shares.append(sum(self.agreed[start:end]) / max(sum(self.seen[start:end]), 1))
        return shares

    @property
    def best(self) -> int:
        """The round with the highest smoothed share, counted from 1, the first of several; 0 without rounds."""
        shares = self.smoothed()
        return shares.index(max(shares)) + 1 if shares else 0

    @property
    def patience(self) -> int:
        """Rounds without a higher share after which the warm-up ends."""
        rounds_of_calls = -(-MIN_CALLS * self.n_rounds // max(self.n_calls, 1))
        return max(PATIENCE, rounds_of_calls)

    @property
    def has_peaked(self) -> bool:
        """Whether the smoothed share has not risen for as many rounds as the patience."""
        return self.n_rounds >= max(MIN_ROUNDS, self.best + self.patience)

    @property
    def is_rising(self) -> bool:
        """Whether the smoothed share rose by `NOTABLE_RISE` in the last `WINDOW` rounds, or since the first."""
        shares = self.smoothed()
        return len(shares) < 2 or shares[-1] - shares[max(len(shares) - 1 - WINDOW, 0)] >= NOTABLE_RISE
