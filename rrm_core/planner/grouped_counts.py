"""Counts of one round with groups: those of one planner, or of several merged."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays.groups import to_host_groups
from ..backends.registry import CountingBackend
from ..definition.formats import Array
from .counts import CONTRADICTION, REMEDY, Counts
from .grouped_consistency import are_counts_consistent, is_consistent
from .grouped_state import GroupedState


class GroupedCounts(Counts[GroupedState]):
    """Counts of one round with groups; see `Counts`."""

    def __init__(self, state: GroupedState) -> None:
        self._pass = state.group_pass
        # See rrm_core/definition/group_counting.py.
        super().__init__(state, self._pass.empty_counts(), self._pass.n)

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
        self._counts = self._plus(other)

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
        self.check_n()
        places = self._pass
        bins = 1 << places.bits
        n_in_range = self._counts[places.own_histograms :].reshape(-1, bins).sum(axis=1)
        n_inside = np.empty(0, np.int64)
        if state.width:
            n_inside = np.concatenate([state.own.n_inside.reshape(-1), state.of_all.n_inside])
        if (
            self.checksum != state.checksum
            or not np.array_equal(self._counts[places.sizes : places.n_nan], state.sizes)
            or not np.array_equal(n_in_range, n_inside)
        ):
            raise ValueError(f"other losses or groups were counted in round {state.round} than in the first; {REMEDY}")

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
        """Return copies of the counts as int64 arrays: ``"sums"``, ``"minima"``, and ``"keys"``, which is empty."""
        return self._split() | {"keys": np.empty(0, np.int64)}

    def load_arrays(self, sums: Array, minima: Array, keys: Array) -> None:
        """Replace the counts by those of `to_arrays`, of one planner or combined of several.

        Raises
        ------
        ValueError
            The arrays do not belong to this round, or contradict each other.
        TypeError
            They are combined of planners that counted losses of different types.
        """
        if len(keys):
            raise ValueError(CONTRADICTION)
        self._counts = self._joined(sums, minima, are_counts_consistent)
