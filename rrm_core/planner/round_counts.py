"""Counts of one round: those of one planner, or of several merged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..backends.registry import CountingBackend
from ..definition.counting import BINS
from ..definition.formats import BY_CODE, Array, Format
from .rank_search import PivotCount, Target
from .round_state import SelectionState
from .state_format import to_signed, to_unsigned

# Stands for a key or an index that does not exist: the neutral element of the minimum.
MISSING = np.iinfo(np.int64).max

# Layout of the sums: number of losses, checksum, counts below and at two pivots, counts in two ranges, histograms.
N = 0
CHECKSUM = 1
PIVOTS = 2
RANGES = 6
HISTOGRAMS = 8


class RoundCounts:
    """Counts of one round. Sums add up, minima take the minimum, collected keys are concatenated.

    Parameters
    ----------
    state : SelectionState
        What the round has to count.

    Attributes
    ----------
    format : Format or None
        Type of the losses: of those counted so far, or in the first round.
    sums : int64 array
        See the layout above; one histogram of `BINS` for each range, none if keys are collected.
    minima : int64 array of shape (3,)
        Smallest key, index of the first NaN and of the first -inf, counted in the first round; `MISSING` if none.
    keys : list of uint64 arrays
        Collected keys.
    """

    def __init__(self, state: SelectionState) -> None:
        self._state = state
        self._pivots = state.pivots
        self._ranges = state.ranges
        self._collects_keys = state.collects_keys
        if state.complete or self._collects_keys:
            n_histograms = 0
        else:
            n_histograms = len(self._ranges) or 1
        self.format = state.format
        self.sums = np.zeros(HISTOGRAMS + n_histograms * BINS, np.int64)
        self.minima = np.full(3, MISSING, np.int64)
        self.keys: list[Array] = []

    @property
    def n(self) -> int:
        """Number of losses counted."""
        return int(self.sums[N])

    @property
    def checksum(self) -> int:
        """Sum of the losses' words, modulo 2**32."""
        return int(self.sums[CHECKSUM]) % 2**32

    @property
    def _histograms(self) -> Array:
        # A view, so that kernels count in `sums`.
        return self.sums[HISTOGRAMS:].reshape(-1, BINS)

    def add(self, losses: Array, format: Format, offset: int, backend: CountingBackend, threads: int | None) -> None:
        """Count losses; if the backend raises an error, nothing is counted.

        Parameters
        ----------
        losses : array of shape (m,)
            On the host, as a backend takes it.
        format : Format
            Type of the losses.
        offset : int
            Index of the first of them among all losses.
        backend : CountingBackend
        threads : int, optional
        """
        if not len(losses):
            self.format = format
            return
        if self._state.round == 1:
            checksum = self._add_first_round(losses, format, offset, backend, threads)
        else:
            checksum = self._add_later_round(losses, backend, threads)
        self.format = format
        # Last, so that `check` notices an update that was interrupted.
        self.sums[N] += len(losses)
        self.sums[CHECKSUM] += checksum

    def _add_first_round(
        self, losses: Array, format: Format, offset: int, backend: CountingBackend, threads: int | None
    ) -> int:
        counts = backend.count_first_pass(losses, offset, self._histograms[0], threads)
        minima = np.full(3, MISSING, np.int64)
        nan_key = (1 << format.width) - 1
        if counts.min_key != nan_key:
            minima[0] = to_signed(counts.min_key)
        if counts.first_nan >= 0:
            minima[1] = counts.first_nan
        if counts.first_neg_inf >= 0:
            minima[2] = counts.first_neg_inf
        self.minima = np.minimum(self.minima, minima)
        return counts.checksum

    def _add_later_round(self, losses: Array, backend: CountingBackend, threads: int | None) -> int:
        memory: list[Array]
        if self._collects_keys:
            memory = [np.empty(min(len(losses), n_inside), np.uint64) for n_inside in self._ranges.values()]
        else:
            memory = list(self._histograms)
        counts = backend.count_pass(losses, list(self._ranges), memory, self._pivots, threads)
        for i, pivot_count in enumerate(counts.pivot_counts):
            self.sums[PIVOTS + 2 * i : PIVOTS + 2 * i + 2] += pivot_count
        for i, n_inside in enumerate(counts.n_in_range):
            self.sums[RANGES + i] += n_inside
            if self._collects_keys:
                # A copy, so that the rest of the memory is freed.
                self.keys.append(memory[i][:n_inside].copy())
        return counts.checksum

    def add_counts(self, other: RoundCounts) -> None:
        """Add the counts of another planner of the same round."""
        if other.format is not None:
            self.format = other.format
        self.sums += other.sums
        self.minima = np.minimum(self.minima, other.minima)
        self.keys += other.keys

    def check(self) -> None:
        """Raise if the counts are inconsistent, or if this pass did not see the same losses as the first.

        Raises
        ------
        ValueError
            The message says which of the two.
        """
        state = self._state
        n_inside = [self.n]
        if state.round > 1:
            n_inside = self.sums[RANGES : RANGES + len(self._ranges)].tolist()
            remedy = "give every loss to one planner once in each round, and do not modify the source meanwhile"
            if self.n != state.n:
                raise ValueError(
                    f"{self.n:_} losses were counted in round {state.round}, but {state.n:_} in the first; {remedy}"
                )
            if self.checksum != state.checksum or n_inside != list(self._ranges.values()):
                raise ValueError(f"other losses were counted in round {state.round} than in the first; {remedy}")
        if self._collects_keys:
            consistent = sum(map(len, self.keys)) == sum(n_inside)
        else:
            consistent = self._histograms.sum(axis=1).tolist() == n_inside
        if not consistent:
            raise ValueError(
                "the counts contradict each other: an update was interrupted, or partial results were not combined as "
                "partial() documents; begin the round again"
            )

    def next_state(self) -> SelectionState:
        """Return the state after this round.

        Raises
        ------
        ValueError
            The losses cannot be reweighted.
        """
        state = self._state
        if state.round == 1:
            assert self.format is not None
            min_key, *first_indices = self.minima.tolist()
            minima = [to_unsigned(min_key), *first_indices]
            state = state.after_first_round(self.format, self.n, self.checksum, minima, self._histograms[0])
        else:
            state = replace(state, threshold=self._narrow(state.threshold), recipients=self._narrow(state.recipients))
        if state.complete:
            return state
        return replace(state, round=state.round + 1)

    def _narrow(self, target: Target | None) -> Target | None:
        """Return what is known of a threshold after this round, a later one."""
        if target is None or target.resolved:
            return target
        if isinstance(target, PivotCount):
            i = PIVOTS + 2 * self._pivots.index(target.key)
            return PivotCount(target.key, *self.sums[i : i + 2].tolist())
        if self._collects_keys:
            return target.resolve(np.concatenate(self.keys))
        return target.narrow(self._histograms[list(self._ranges).index(target.bounds)])

    def to_arrays(self) -> dict[str, Array]:
        """Return copies of the counts as int64 arrays: ``"sums"``, ``"minima"`` and ``"keys"``.

        The minima end with the type's code and its negative, so that their minimum over planners tells whether all
        have counted losses of the same type.
        """
        if self.format is None:
            codes = [MISSING, MISSING]
        else:
            codes = [self.format.code, -self.format.code]
        return {
            "sums": self.sums.copy(),
            "minima": np.array([*self.minima, *codes], np.int64),
            "keys": np.concatenate([*self.keys, np.empty(0, np.uint64)]).view(np.int64),
        }

    def load_arrays(self, sums: Array, minima: Array, keys: Array) -> None:
        """Replace the counts by those of `to_arrays`, of one planner or combined of several.

        Raises
        ------
        ValueError
            The arrays do not belong to this round.
        TypeError
            They are combined of planners that counted losses of different types.
        """
        if sums.shape != self.sums.shape or minima.shape != (5,):
            raise ValueError("arrays of another length")
        codes = {int(minima[3]), -int(minima[4])} - {MISSING, -MISSING}
        if not codes <= set(BY_CODE):
            raise ValueError(f"losses of types {sorted(codes)}")
        for code in sorted(codes):
            self.require_format(BY_CODE[code])
            self.format = BY_CODE[code]
        self.sums[...] = sums
        self.minima = minima[:3]
        if len(keys):
            self.keys = [keys.view(np.uint64)]

    def require_format(self, format: Format) -> None:
        """Raise a TypeError if losses of another type have been counted."""
        if self.format not in (None, format):
            raise TypeError(f"losses must be {self.format.name}, as those before, got {format.name}")
