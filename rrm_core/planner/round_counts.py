"""Counts of one round: those of one planner, or of several merged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..backends.registry import CountingBackend
from ..definition.counting import (
    BINS,
    CHECKSUM,
    HISTOGRAMS,
    MAX_LOSSES,
    MISSING,
    N_MINIMA,
    NEGATIVE_TYPE_CODE,
    PIVOTS,
    RANGES,
    TYPE_CODE,
    N,
    empty_counts,
    to_unsigned,
)
from ..definition.formats import BY_CODE, Array, Format
from .consistency import are_counts_consistent, is_consistent
from .rank_search import PivotCount, Target
from .round_state import SelectionState

CONTRADICTION = (
    "the counts contradict each other: partial results were not combined as partial() documents; begin the round again"
)


class RoundCounts:
    """Counts of one round. Whatever is raised, KeyboardInterrupt included, a method changes all of them or none.

    Parameters
    ----------
    state : SelectionState
        What the round has to count.
    """

    def __init__(self, state: SelectionState) -> None:
        self._state = state
        self._pivots = state.pivots
        self._ranges = list(state.ranges)
        if state.complete or state.collects_keys:
            n_histograms = 0
        else:
            n_histograms = len(self._ranges) or 1
        # See rrm_core/definition/counting.py. Backends add to it.
        self._counts = empty_counts(n_histograms)
        if state.format is not None:
            self._counts[[TYPE_CODE, NEGATIVE_TYPE_CODE]] = state.format.code, -state.format.code
        # For each range, memory for the keys of all losses in it. The first ones are in use, as many as were counted.
        self._key_memory: list[Array] = []
        if state.collects_keys:
            self._key_memory = [np.empty(n_inside, np.uint64) for n_inside in state.ranges.values()]

    @property
    def n(self) -> int:
        """Number of losses counted."""
        return int(self._counts[N])

    @property
    def checksum(self) -> int:
        """Sum of the losses' words, modulo 2**32."""
        return int(self._counts[CHECKSUM])

    @property
    def format(self) -> Format | None:
        """Type of the losses: of those counted so far, or in the first round."""
        return BY_CODE.get(int(self._counts[TYPE_CODE]))

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
        if self.n + other.n >= MAX_LOSSES:
            raise ValueError(f"{self.n:_} and {other.n:_} losses are too many; a plan has fewer than 2**47")
        counts = self._counts + other._counts
        np.minimum(self._counts[:N_MINIMA], other._counts[:N_MINIMA], out=counts[:N_MINIMA])
        counts[CHECKSUM] %= 2**32
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
        remedy = "give every loss to one planner once in each round, and do not modify the source meanwhile"
        if self.n != state.n:
            raise ValueError(
                f"{self.n:_} losses were counted in round {state.round}, but {state.n:_} in the first; {remedy}"
            )
        n_in_range = self._counts[RANGES : RANGES + len(self._ranges)].tolist()
        if self.checksum != state.checksum or n_in_range != list(state.ranges.values()):
            raise ValueError(f"other losses were counted in round {state.round} than in the first; {remedy}")

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
        return {
            "sums": self._counts[N:].copy(),
            "minima": self._counts[:N_MINIMA].copy(),
            "keys": np.concatenate([*self.keys, np.empty(0, np.uint64)]).view(np.int64),
        }

    def load_arrays(self, sums: Array, minima: Array, keys: Array) -> None:
        """Replace the counts by those of `to_arrays`, of one planner or combined of several.

        Raises
        ------
        ValueError
            The arrays do not belong to this round, or contradict each other.
        TypeError
            They are combined of planners that counted losses of different types.
        """
        if len(minima) != N_MINIMA or len(minima) + len(sums) != len(self._counts):
            raise ValueError("arrays of another length")
        check_types(self._state.format, minima)
        counts = np.concatenate([minima, sums])
        if not are_counts_consistent(self._state, counts):
            raise ValueError(CONTRADICTION)
        counts[CHECKSUM] %= 2**32
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

    def require_format(self, format: Format) -> None:
        """Raise a TypeError if losses of another type have been counted."""
        if self.format not in (None, format):
            raise TypeError(f"losses must be {self.format.name}, as those before, got {format.name}")


def check_types(format: Format | None, minima: Array) -> None:
    """Raise unless two of the minima are the code of one type and its negative, or of none.

    Parameters
    ----------
    format : Format, optional
        Type of the losses, if it is known from the first round.
    minima : int64 array
        See `rrm_core.definition.counting`.

    Raises
    ------
    ValueError
        There is no such type.
    TypeError
        The losses had different types.
    """
    stored = minima[TYPE_CODE : NEGATIVE_TYPE_CODE + 1]
    if format is None and (stored == MISSING).all():
        return
    codes = [int(stored[0]), -int(stored[1])]
    if not set(codes) <= set(BY_CODE):
        raise ValueError(f"losses of types {codes}")
    expected = format or BY_CODE[codes[0]]
    for code in codes:
        if code != expected.code:
            raise TypeError(f"losses must be {expected.name}, as those before, got {BY_CODE[code].name}")
