"""Counts of one round with groups: those of one planner, or of several merged."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.groups import to_host_groups
from ..backends.registry import CountingBackend
from ..definition.counting import MAX_LOSSES, NEGATIVE_TYPE_CODE, TYPE_CODE
from ..definition.formats import BY_CODE, Array, Format
from .grouped_consistency import are_counts_consistent, is_consistent
from .grouped_state import GroupedState
from .round_counts import CONTRADICTION, check_types


class GroupedCounts:
    """Counts of one round. Whatever is raised, KeyboardInterrupt included, a method changes all of them or none.

    Parameters
    ----------
    state : GroupedState
        What the round has to count.
    """

    def __init__(self, state: GroupedState) -> None:
        self._state = state
        self._pass = state.group_pass
        # See rrm_core/definition/group_counting.py. Backends add to it.
        self._counts = self._pass.empty_counts()
        if state.format is not None:
            self._counts[[TYPE_CODE, NEGATIVE_TYPE_CODE]] = state.format.code, -state.format.code

    @property
    def n(self) -> int:
        """Number of losses counted."""
        return int(self._counts[self._pass.n])

    @property
    def format(self) -> Format | None:
        """Type of the losses: of those counted so far, or in the first round."""
        return BY_CODE.get(int(self._counts[TYPE_CODE]))

    def add(self, losses: Array, groups: Any, offset: int, backend: CountingBackend, threads: int | None) -> None:
        """Count losses.

        Parameters
        ----------
        losses : array of shape (m,)
            On the host, as a backend takes it.
        groups : array of integers, shape (m,), or Groups
            Their groups.
        offset : int
            Index of the first of them among all losses.
        backend : CountingBackend
        threads : int, optional

        Raises
        ------
        TypeError, ValueError
            See `to_host_groups`; also if `groups` is None.
        """
        n_groups = self._state.n_groups
        if groups is None:
            raise ValueError(f"the planner has {n_groups:_} groups; pass those of these losses as groups")
        numbers = to_host_groups("groups", groups, len(losses), n_groups)
        backend.count_groups(losses, numbers, offset, self._pass, self._counts, threads)

    def add_counts(self, other: GroupedCounts) -> None:
        """Add the counts of another planner of the same round.

        Raises
        ------
        ValueError
            The sums would no longer be exact.
        """
        if self.n + other.n >= MAX_LOSSES:
            raise ValueError(f"{self.n:_} and {other.n:_} losses are too many; a plan has fewer than 2**47")
        counts = self._counts + other._counts
        first_sum = self._pass.n
        np.minimum(self._counts[:first_sum], other._counts[:first_sum], out=counts[:first_sum])
        counts[self._pass.checksum] %= 2**32
        self._counts = counts

    def check(self) -> None:
        """Raise if this pass did not see the same losses and groups as the first.

        Raises
        ------
        ValueError
            The message gives the remedy.
        """
        state = self._state
        if not state.n_counted:
            return
        remedy = "give every loss to one planner once in each round, and do not modify the source meanwhile"
        if self.n != state.n:
            raise ValueError(
                f"{self.n:_} losses were counted in round {state.round}, but {state.n:_} in the first; {remedy}"
            )
        places = self._pass
        bins = 1 << places.bits
        n_in_range = self._counts[places.own_histograms :].reshape(-1, bins).sum(axis=1)
        n_inside = np.empty(0, np.int64)
        if state.width:
            n_inside = np.concatenate([state.own.n_inside.reshape(-1), state.of_all.n_inside])
        if (
            self._counts[places.checksum] != state.checksum
            or not np.array_equal(self._counts[places.sizes : places.n_nan], state.sizes)
            or not np.array_equal(n_in_range, n_inside)
        ):
            raise ValueError(f"other losses or groups were counted in round {state.round} than in the first; {remedy}")

    def next_state(self) -> GroupedState:
        """Return the state after this round.

        Raises
        ------
        ValueError
            The losses cannot be reweighted, or the counts contradict those of earlier rounds.
        """
        state = self._state.after_round(self._counts)
        if not is_consistent(state):
            raise ValueError(CONTRADICTION)
        return state

    def to_arrays(self) -> dict[str, Array]:
        """Return copies of the counts as int64 arrays: ``"sums"``, ``"minima"`` and ``"keys"``, which are none."""
        first_sum = self._pass.n
        return {
            "sums": self._counts[first_sum:].copy(),
            "minima": self._counts[:first_sum].copy(),
            "keys": np.empty(0, np.int64),
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
        if len(minima) != self._pass.n or len(minima) + len(sums) != self._pass.length or len(keys):
            raise ValueError("arrays of another length")
        check_types(self._state.format, minima)
        counts = np.concatenate([minima, sums])
        if not are_counts_consistent(self._state, counts):
            raise ValueError(CONTRADICTION)
        counts[self._pass.checksum] %= 2**32
        self._counts = counts

    def require_format(self, format: Format) -> None:
        """Raise a TypeError if losses of another type have been counted."""
        if self.format not in (None, format):
            raise TypeError(f"losses must be {self.format.name}, as those before, got {format.name}")
