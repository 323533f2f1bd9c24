"""Counts of one round without groups: those of one planner, or of several merged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..backends.registry import CountingBackend
from ..definition.counting import (
    BINS,
    HISTOGRAMS,
    N_MINIMA,
    PIVOTS,
    RANGES,
    TYPE_CODE,
    empty_counts,
    to_unsigned,
)
from ..definition.formats import Array
from .consistency import are_counts_consistent, is_consistent
from .counts import CONTRADICTION, REMEDY, Counts
from .rank_search import PivotCount, Target
from .round_state import SelectionState


class RoundCounts(Counts[SelectionState]):
    """Counts of one round without groups; see `Counts`."""

    def __init__(self, state: SelectionState) -> None:
        self._pivots = state.pivots
        self._ranges = list(state.ranges)
        if state.complete or state.collects_keys:
            n_histograms = 0
        else:
            n_histograms = len(self._ranges) or 1
        # See rrm_core/definition/counting.py.
        super().__init__(state, empty_counts(n_histograms), N_MINIMA)
        # For each range, memory for the keys of all losses in it. The first ones are in use, as many as were counted.
        self._key_memory: list[Array] = []
        if state.collects_keys:
            self._key_memory = [np.empty(n_inside, np.uint64) for n_inside in state.ranges.values()]

    @property
    def keys(self) -> list[Array]:
        """The keys collected in each range."""
        n_in_range = self._counts[RANGES:HISTOGRAMS].tolist()
        return [memory[:n_inside] for memory, n_inside in zip(self._key_memory, n_in_range, strict=False)]

    @property
    def _histograms(self) -> Array:
        return self._counts[HISTOGRAMS:].reshape(-1, BINS)

    def add(self, losses: Array, groups: Any, offset: int, backend: CountingBackend, threads: int | None) -> None:
        """Count losses.

        Parameters
        ----------
        losses : array of shape (m,)
            On the host, as a backend takes it.
        groups : None
            Others are refused.
        offset : int
            Index of the first of them among all losses.
        backend : CountingBackend
        threads : int, optional

        Raises
        ------
        ValueError
            There are groups.
        """
        if groups is not None:
            raise ValueError("groups were given, but the planner has none; leave them out, or make it with n_groups")
        if self._state.round == 1:
            backend.count_first_pass(losses, offset, self._counts, threads)
        else:
            backend.count_pass(losses, self._ranges, self._key_memory, self._pivots, self._counts, threads)

    def add_counts(self, other: RoundCounts) -> None:
        """Add the counts of another planner of the same round.

        Raises
        ------
        ValueError
            The sums would no longer be exact.
        """
        counts = self._plus(other)
        self._store_keys(other.keys)
        # Only now do the stored keys count.
        self._counts = counts

    def _store_keys(self, keys: list[Array]) -> None:
        """Write keys to the unused memory of their ranges; more than fit are counted in error and not needed."""
        for memory, used, more in zip(self._key_memory, self.keys, keys, strict=True):
            unused = memory[len(used) :]
            unused[: len(more)] = more[: len(unused)]

    def check(self) -> None:
        """Raise if this pass did not see the same losses as the first.

        Raises
        ------
        ValueError
            The message gives the remedy.
        """
        state = self._state
        if state.round == 1:
            return
        self.check_n()
        n_in_range = self._counts[RANGES : RANGES + len(self._ranges)].tolist()
        if self.checksum != state.checksum or n_in_range != list(state.ranges.values()):
            raise ValueError(f"other losses were counted in round {state.round} than in the first; {REMEDY}")

    def next_state(self) -> SelectionState:
        """Return the state after this round.

        Raises
        ------
        ValueError
            The losses cannot be reweighted, or the counts contradict those of earlier rounds.
        """
        state = self._state
        if state.round == 1:
            assert self.format is not None
            min_key, *first_indices = self._counts[:TYPE_CODE].tolist()
            minima = [to_unsigned(min_key), *first_indices]
            state = state.after_first_round(self.format, self.n, self.checksum, minima, self._histograms[0])
        else:
            state = replace(state, threshold=self._narrow(state.threshold), recipients=self._narrow(state.recipients))
        if not state.complete:
            state = replace(state, round=state.round + 1)
        if not is_consistent(state):
            raise ValueError(CONTRADICTION)
        return state

    def _narrow(self, target: Target | None) -> Target | None:
        """Return what is known of a threshold after this round, a later one."""
        if target is None or target.resolved:
            return target
        if isinstance(target, PivotCount):
            i = PIVOTS + 2 * self._pivots.index(target.key)
            return PivotCount(target.key, *self._counts[i : i + 2].tolist())
        i = self._ranges.index(target.bounds)
        if self._key_memory:
            return target.resolve(self.keys[i])
        return target.narrow(self._histograms[i])

    def to_arrays(self) -> dict[str, Array]:
        """Return copies of the counts as int64 arrays: ``"sums"``, ``"minima"`` and ``"keys"``."""
        return self._split() | {"keys": np.concatenate([*self.keys, np.empty(0, np.uint64)]).view(np.int64)}

    def load_arrays(self, sums: Array, minima: Array, keys: Array) -> None:
        """Replace the counts by those of `to_arrays`, of one planner or combined of several.

        Raises
        ------
        ValueError
            The arrays do not belong to this round, or contradict each other.
        TypeError
            They are combined of planners that counted losses of different types.
        """
        counts = self._joined(sums, minima, are_counts_consistent)
        self._store_keys(self._split_keys(keys.view(np.uint64), counts))
        self._counts = counts

    def _split_keys(self, keys: Array, counts: Array) -> list[Array]:
        """Return the keys in each range; raise a ValueError unless there are as many as were counted."""
        if not self._key_memory:
            if len(keys):
                raise ValueError(CONTRADICTION)
            return []
        keys_of_ranges = [keys[(keys >= first) & (keys <= last)] for first, last, _ in self._ranges]
        n_in_range = counts[RANGES:HISTOGRAMS].tolist()
        is_complete = sum(map(len, keys_of_ranges)) == len(keys) and all(
            min(n, len(memory)) <= len(keys_in_range) <= n
            for n, memory, keys_in_range in zip(n_in_range, self._key_memory, keys_of_ranges, strict=False)
        )
        if not is_complete:
            raise ValueError(CONTRADICTION)
        return keys_of_ranges
