"""The groups of a streaming call: their source and their number."""

from __future__ import annotations

from typing import NamedTuple

from ..arrays.groups import to_host_groups
from ..definition.formats import Array
from ..definition.group_numbers import GroupNumbers
from .source import Chunk, Source, raise_length_mismatch

GROUP_BYTES = 8  # of the largest integer type


class GroupSource(NamedTuple):
    """Numbers of groups, read together with the losses.

    Attributes
    ----------
    source : Source
    n_groups : int
    """

    source: Source
    n_groups: int

    def read(self, chunk: Chunk, first: int, last: int, memory: Array) -> GroupNumbers:
        """Return the groups of the samples ``range(first, last)``, which lie in a chunk.

        Parameters
        ----------
        chunk : Chunk
        first, last : int
        memory : uint8 array
            See `Chunk.read`.

        Raises
        ------
        TypeError, ValueError
            They are no integers, or lie outside [0, n_groups).
        """
        numbers = chunk.read(first, last, memory)
        checked = to_host_groups(self.source.name, numbers, last - first, self.n_groups, start=first)
        return GroupNumbers(checked, self.n_groups)

    def check_length(self, n: int | None) -> None:
        """Raise a ValueError if it is known that there is not one group number for each of `n` losses."""
        if self.source.n is not None and n is not None and self.source.n != n:
            raise_length_mismatch(self.source.name, self.source.n, n)
