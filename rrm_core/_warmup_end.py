"""When a warm-up ends: once predictions no longer agree more often with held-out labels, or memorise the others.

A round is an epoch or a part of one. The trainers of this distribution share this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIN_ROUNDS = 3
WINDOW = 3
PATIENCE = 3

MIN_CALLS = 100
"""Batches that the patience covers at least, so that it is no shorter on small sets."""

MEMORISING = 0.15
MEMORISING_ERRORS = 3
"""An agreement on trained samples that exceeds the one on samples held out by so much, and by so many standard errors
of a share of one half, is memorised."""

LEARNT = 0.1
LEARNT_MUCH = 0.2
"""Cohen's kappa of a model that has learnt something, and of one that may have learnt what it can."""

LEARNT_RISE = 0.1
"""A rise of the agreement, since the first round, that shows the latter as well."""

LONGER = 3
"""Times the patience with a model that has not learnt much: its learning may start late."""

NOTABLE_RISE = 0.04
"""A rise of the agreement in `WINDOW` rounds of at most `LONG_ROUND` calls that shows a model which is still
learning."""

LONG_ROUND = 100
LONGEST_ROUND = 400
"""Batches in a round, of all ranks together, between which the notable rise grows in proportion: with more batches in a
round, the agreement rises further in it, also late in training. Longer rounds were not tried."""


@dataclass(frozen=True)
class Round:
    """How many samples were predicted as labelled in a round.

    Attributes
    ----------
    n_held_out, n_held_out_agreed : int
        Samples held out that were predicted, and those of them predicted as labelled.
    n_trained, n_trained_agreed : int
        The same of the other samples.
    n_pairs_agreed : int
        Pairs of the prediction for a sample held out and the label of any of them that agree: ``n_held_out`` times the
        number that would agree by chance.
    """

    n_held_out: int
    n_held_out_agreed: int
    n_trained: int
    n_trained_agreed: int
    n_pairs_agreed: int

    @property
    def is_memorising(self) -> bool:
        """Whether the agreement on trained samples exceeds the one on samples held out, by far more than chance."""
        gap = _share(self.n_trained_agreed, self.n_trained) - _share(self.n_held_out_agreed, self.n_held_out)
        largest_error = 0.5 / math.sqrt(max(self.n_held_out, 1))
        return gap >= max(MEMORISING, MEMORISING_ERRORS * largest_error)


@dataclass(frozen=True)
class Agreement:
    """The rounds of a warm-up.

    Attributes
    ----------
    rounds : tuple of Round
    n_calls : int
        Batches in all of them: calls of `rrm_torch.RRM.weighted_mean`, for example.
    """

    rounds: tuple[Round, ...] = ()
    n_calls: int = 0

    def extended(self, rounds: Sequence[Round], n_calls: int) -> Agreement:
        """Return the agreement with further rounds, in which there were `n_calls` more calls."""
        return Agreement((*self.rounds, *rounds), self.n_calls + n_calls)

    @property
    def n_rounds(self) -> int:
        """Number of rounds."""
        return len(self.rounds)

    def smoothed(self) -> list[float]:
        """Return the share of held-out samples that agreed beyond chance, in each round and the two before it."""
        return [window.share - window.by_chance for window in self._windows()]

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
        for number, window in enumerate(self._windows(), 1):
            share = window.share - window.by_chance
            if share > highest:
                chosen = number
                highest = share + math.sqrt(window.share * (1 - window.share) / window.n)
        return chosen

    @property
    def patience(self) -> int:
        """Rounds without a higher share after which the warm-up ends."""
        rounds_of_calls = -(-MIN_CALLS * self.n_rounds // max(self.n_calls, 1))
        return max(PATIENCE, rounds_of_calls)

    @property
    def is_over(self) -> bool:
        """Whether the model memorises, or has learnt and done no better for as many rounds as the patience."""
        if self.n_rounds < MIN_ROUNDS:
            return False
        patience = self.patience if self._has_learnt_much else LONGER * self.patience
        has_peaked = self.has_learnt and self.n_rounds >= self.peak + patience
        return has_peaked or (self.rounds[-1].is_memorising and not self._rose)

    @property
    def has_learnt(self) -> bool:
        """Whether predictions agree with the labels of held-out samples beyond chance, more than by two errors."""
        return any(window.kappa >= LEARNT and window.is_beyond_chance for window in self._windows())

    @property
    def _has_learnt_much(self) -> bool:
        """Whether a share that no longer rises can hardly be a plateau before the model learns most of what it will."""
        shares = self.smoothed()
        return max(shares) - shares[0] >= LEARNT_RISE or max(w.kappa for w in self._windows()) >= LEARNT_MUCH

    @property
    def is_rising(self) -> bool:
        """Whether the smoothed share rose in the last rounds, or nothing was learnt yet."""
        return self.n_rounds < 2 or not self.has_learnt or self._rose

    @property
    def _rose(self) -> bool:
        """Whether the smoothed share rose notably in the last `WINDOW` rounds."""
        shares = self.smoothed()
        n_calls_per_round = self.n_calls / self.n_rounds
        notable_rise = NOTABLE_RISE * max(min(n_calls_per_round, LONGEST_ROUND) / LONG_ROUND, 1)
        return shares[-1] - shares[max(len(shares) - 1 - WINDOW, 0)] >= notable_rise

    def _windows(self) -> list[_Window]:
        """Return each round and those before it that it is averaged with."""
        return [_Window(self.rounds[max(end - WINDOW, 0) : end]) for end in range(1, self.n_rounds + 1)]


class _Window:
    """The held-out samples of some rounds.

    Attributes
    ----------
    n : int
        Number of predictions, at least 1.
    share, by_chance : float
        The share of them that agreed, and that would agree if predictions didn't depend on the labels.
    """

    def __init__(self, rounds: Sequence[Round]) -> None:
        self.n = max(sum(entry.n_held_out for entry in rounds), 1)
        self.share = sum(entry.n_held_out_agreed for entry in rounds) / self.n
        self.by_chance = math.fsum(_share(entry.n_pairs_agreed, entry.n_held_out) for entry in rounds) / self.n
        self._n_samples = self.n / max(len(rounds), 1)

    @property
    def kappa(self) -> float:
        """The share that agreed beyond chance, of the largest possible one [1]_.

        References
        ----------
        .. [1] J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement
           1960.
        """
        if self.by_chance >= 1:
            return 0.0
        return (self.share - self.by_chance) / (1 - self.by_chance)

    @property
    def is_beyond_chance(self) -> bool:
        """Whether more agreed than by chance, by two standard errors: the rounds saw the same samples."""
        error = math.sqrt(self.by_chance * (1 - self.by_chance) / self._n_samples)
        return self.share - self.by_chance >= 2 * error


def _share(n_agreed: int, n: int) -> float:
    """Return a share; 0 of no samples."""
    return n_agreed / max(n, 1)
