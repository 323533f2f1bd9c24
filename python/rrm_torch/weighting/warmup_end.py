"""When a warm-up ends: once predictions no longer agree more often with held-out labels, or memorise the others.

The rounds of a warm-up are epochs, or quarters of epochs, see `prediction_rounds`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIN_ROUNDS = 3
WINDOW = 3
PATIENCE = 3

MIN_CALLS = 100
"""Calls of `weighted_mean` that the patience covers at least, so that it is no shorter on small sets."""

MEMORISING = 0.15
"""An agreement on trained samples that exceeds the one on samples held out by so much is memorised."""

LEARNT = 0.5
LEARNT_RISE = 0.1
"""An agreement of `LEARNT`, or one higher by `LEARNT_RISE` than at first, shows a model that has learnt something."""

NOTABLE_RISE = 0.04
"""A rise of the agreement in `WINDOW` rounds that shows a model which is still learning."""


@dataclass(frozen=True)
class Round:
    """How many samples were predicted as labelled in a round.

    Attributes
    ----------
    n_held_out, n_held_out_agreed : int
        Samples held out that were predicted, and those of them predicted as labelled.
    n_trained, n_trained_agreed : int
        The same of the other samples.
    """

    n_held_out: int
    n_held_out_agreed: int
    n_trained: int
    n_trained_agreed: int

    @property
    def gap(self) -> float:
        """The share of trained samples predicted as labelled, less that of samples held out."""
        return _share(self.n_trained_agreed, self.n_trained) - _share(self.n_held_out_agreed, self.n_held_out)


@dataclass(frozen=True)
class Agreement:
    """The rounds of a warm-up.

    Attributes
    ----------
    rounds : tuple of Round
    n_calls : int
        Calls of `weighted_mean` in all of them.
    n_classes : int
        Of the predictions.
    """

    rounds: tuple[Round, ...] = ()
    n_calls: int = 0
    n_classes: int = 0

    def extended(self, rounds: Sequence[Round], n_calls: int, n_classes: int) -> Agreement:
        """Return the agreement with further rounds, in which there were `n_calls` more calls."""
        return Agreement((*self.rounds, *rounds), self.n_calls + n_calls, n_classes)

    @property
    def n_rounds(self) -> int:
        """Number of rounds."""
        return len(self.rounds)

    def smoothed(self) -> list[float]:
        """Return the share of held-out samples that agreed in each round and the `WINDOW - 1` before it."""
        return [_share(*self._window(end)) for end in range(1, self.n_rounds + 1)]

    @property
    def peak(self) -> int:
        """The round with the highest smoothed share, counted from 1, the first of several; 0 without rounds."""
        shares = self.smoothed()
        return shares.index(max(shares)) + 1 if shares else 0

    @property
    def chosen(self) -> int:
        """The round whose predictions are used, counted from 1; 0 without rounds.

        A later round replaces an earlier one if its smoothed share is higher by more than a standard error: of rounds
        that are equally good, an early one has memorised least.
        """
        chosen = 0
        highest = -math.inf
        for number, share in enumerate(self.smoothed(), 1):
            if share > highest:
                chosen = number
                n_seen = max(self._window(number)[1], 1)
                highest = share + math.sqrt(share * (1 - share) / n_seen)
        return chosen

    @property
    def patience(self) -> int:
        """Rounds without a higher share after which the warm-up ends."""
        rounds_of_calls = -(-MIN_CALLS * self.n_rounds // max(self.n_calls, 1))
        return max(PATIENCE, rounds_of_calls)

    @property
    def is_over(self) -> bool:
        """Whether a model that has learnt has not done better for as many rounds as the patience, or memorises."""
        if self.n_rounds < MIN_ROUNDS:
            return False
        has_peaked = self.has_learnt and self.n_rounds >= self.peak + self.patience
        return has_peaked or self.rounds[-1].gap >= MEMORISING

    @property
    def has_learnt(self) -> bool:
        """Whether the smoothed share is far above that of guesses, or has risen: before that it is flat, too."""
        shares = self.smoothed()
        if not shares:
            return False
        by_chance = 1 / max(self.n_classes, 1)
        return max(shares) >= max(LEARNT, by_chance + LEARNT_RISE) or max(shares) - shares[0] >= LEARNT_RISE

    @property
    def is_rising(self) -> bool:
        """Whether the smoothed share rose by `NOTABLE_RISE` in the last `WINDOW` rounds, or nothing was learnt yet."""
        shares = self.smoothed()
        return (
            len(shares) < 2
            or not self.has_learnt
            or shares[-1] - shares[max(len(shares) - 1 - WINDOW, 0)] >= NOTABLE_RISE
        )

    def _window(self, end: int) -> tuple[int, int]:
        """Return how many held-out samples agreed, and were seen, in a round and those before it."""
        rounds = self.rounds[max(end - WINDOW, 0) : end]
        return sum(entry.n_held_out_agreed for entry in rounds), sum(entry.n_held_out for entry in rounds)


def _share(n_agreed: int, n: int) -> float:
    """Return a share; 0 of no samples."""
    return n_agreed / max(n, 1)
