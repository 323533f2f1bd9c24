"""When a warm-up ends: once predictions no longer agree more often with held-out labels, or memorise the others.

A round is an epoch or a part of one. The trainers of this distribution share this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ._agreement import Round, Window

MIN_ROUNDS = 3
WINDOW = 3
PATIENCE = 3

MIN_CALLS = 100
"""Batches that the patience covers at least, so that it is no shorter on small sets."""

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
        return any(window.shows_learning(LEARNT) for window in self._windows())

    @property
    def best(self) -> Window:
        """The rounds in which the predictions agreed most with the labels of held-out samples, beyond chance."""
        return max(self._windows(), key=lambda window: window.kappa)

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

    def _windows(self) -> list[Window]:
        """Return each round and those before it that it is averaged with."""
        return [Window(self.rounds[max(end - WINDOW, 0) : end]) for end in range(1, self.n_rounds + 1)]
