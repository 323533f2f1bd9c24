"""What the counts of one round have in common with and without groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from ..definition.counting import MAX_LOSSES, MISSING, NEGATIVE_TYPE_CODE, TYPE_CODE
from ..definition.formats import BY_CODE, Array, Format
from .grouped_state import GroupedState
from .round_state import SelectionState

CONTRADICTION = (
    "the counts contradict each other: partial results were not combined as partial() documents; begin the round again"
)
REMEDY = "give every loss to one planner once in each round, and do not modify the source meanwhile"

StateT = TypeVar("StateT", bound="SelectionState | GroupedState")


class Counts(Generic[StateT]):
    """Counts of one round. Whatever is raised, KeyboardInterrupt included, a method changes all of them or none.

    Parameters
    ----------
    state : SelectionState or GroupedState
        What the round has to count.
    counts : int64 array
        Those of no loss: minima, number of losses, checksum, and other sums. Backends add to it.
    n_minima : int
        Number of minima.
    """

    def __init__(self, state: StateT, counts: Array, n_minima: int) -> None:
        self._state = state
        self._counts = counts
        self._n_minima = n_minima
        if state.format is not None:
            counts[[TYPE_CODE, NEGATIVE_TYPE_CODE]] = state.format.code, -state.format.code

    @property
    def n(self) -> int:
        """Number of losses counted."""
        return int(self._counts[self._n_minima])

    @property
    def checksum(self) -> int:
        """See `Planner.checksum`."""
        return int(self._counts[self._n_minima + 1])

    @property
    def format(self) -> Format | None:
        """Type of the losses: of those counted so far, or in the first round."""
        return BY_CODE.get(int(self._counts[TYPE_CODE]))

    def require_format(self, format: Format) -> None:
        """Raise a TypeError if losses of another type have been counted."""
        if self.format not in (None, format):
            raise TypeError(f"losses must be {self.format.name}, as those before, got {format.name}")

    def check_n(self) -> None:
        """Raise a ValueError unless as many losses were counted as in the first round."""
        if self.n != self._state.n:
            raise ValueError(
                f"{self.n:_} losses were counted in round {self._state.round}, but {self._state.n:_} in the first; "
                f"{REMEDY}"
            )

    def _plus(self, other: Counts[StateT]) -> Array:
        """Return the counts of both.

        Raises
        ------
        ValueError
            The sums would no longer be exact.
        """
        if self.n + other.n >= MAX_LOSSES:
            raise ValueError(f"{self.n:_} and {other.n:_} losses are too many; a plan has fewer than 2**47")
        counts = self._counts + other._counts
        n_minima = self._n_minima
        np.minimum(self._counts[:n_minima], other._counts[:n_minima], out=counts[:n_minima])
        counts[n_minima + 1] %= 2**32
        return counts

    def _split(self) -> dict[str, Array]:
        """Return copies of the sums and the minima."""
        return {"sums": self._counts[self._n_minima :].copy(), "minima": self._counts[: self._n_minima].copy()}

    def _joined(self, sums: Array, minima: Array, are_consistent: Callable[[StateT, Array], bool]) -> Array:
        """Return the counts that `_split` has split, possibly combined of several planners.

        Raises
        ------
        ValueError
            The arrays do not belong to this round, or contradict each other.
        TypeError
            They are combined of planners that counted losses of different types.
        """
        if len(minima) != self._n_minima or len(minima) + len(sums) != len(self._counts):
            raise ValueError("arrays of another length")
        _check_types(self._state.format, minima)
        counts = np.concatenate([minima, sums])
        if not are_consistent(self._state, counts):
            raise ValueError(CONTRADICTION)
        counts[self._n_minima + 1] %= 2**32
        return counts


def _check_types(format: Format | None, minima: Array) -> None:
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
