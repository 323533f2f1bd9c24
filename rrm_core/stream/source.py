"""What is read part by part: the parts of a source, and those of two sources that belong to the same samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from ..definition.formats import Array, Format


class Part(NamedTuple):
    """Some consecutive samples of a source.

    Attributes
    ----------
    start, stop : int
        Their indices among all of its samples: from `start` up to `stop`.
    read : callable
        ``read(first, last, memory)`` returns those from `first` up to `last`, within the part: an array as a caller
        may pass it, in `memory` (of bytes, with room for them) or elsewhere.
    """

    start: int
    stop: int
    read: Callable[[int, int, Array], Any]


class Source(Protocol):
    """Losses or weights that can be read again and again."""

    @property
    def name(self) -> str:
        """The argument that it was given as, and the file if it is one: how messages call it."""

    @property
    def n(self) -> int | None:
        """Number of samples, where that is known beforehand."""

    @property
    def format(self) -> Format | None:
        """Their type, likewise."""

    @property
    def ahead(self) -> bool:
        """Whether a part stays as it is when the next one is asked for."""

    @property
    def lazy(self) -> bool:
        """Whether a part takes no memory until it is read."""

    def parts(self, most: int) -> Iterator[Part]:
        """Yield all parts in order, of `most` samples if the source may choose."""

    def check(self) -> None:
        """Raise a RuntimeError if the source was seen to change since it was opened."""

    def close(self) -> None:
        """Let go of what is open."""


class Job(NamedTuple):
    """Some samples to work on at a time.

    Attributes
    ----------
    start, stop : int
        Their indices.
    losses, weights : Part
        Parts that hold them, perhaps among others. `weights` may be None.
    completes : bool
        Whether they are the last ones of the losses' part.
    last_look : bool
        Whether they must be done with before the next job is asked for.
    """

    start: int
    stop: int
    losses: Part
    weights: Part | None
    completes: bool
    last_look: bool


def jobs(losses: Source, weights: Source | None, most: int, n: int = 0) -> Iterator[Job]:
    """Yield jobs of `most` samples at the most, in order, whatever the borders of the parts of either source.

    A part without samples is a job without samples. `n` is how many losses there are, to be said if weights lack.

    Raises
    ------
    ValueError
        There are more weights than losses, or fewer.
    """
    others = iter(()) if weights is None else weights.parts(most)
    other: Part | None = None
    stop = 0
    for part in losses.parts(most):
        first, stop = part.start, part.stop
        while True:
            last = min(first + most, stop)
            if weights is not None and first < stop:
                while other is None or other.stop <= first:
                    n_weights = 0 if other is None else other.stop
                    other = next(others, None)
                    if other is None:
                        raise another_length(n_weights, n)
                last = min(last, other.stop)
            leaves = last == stop and not losses.ahead
            if weights is not None and other is not None and last == other.stop and not weights.ahead:
                leaves = True
            yield Job(first, last, part, other, last == stop, leaves)
            first = last
            if first == stop:
                break
    for other in others:  # noqa: B007
        pass
    if weights is not None and (n_weights := 0 if other is None else other.stop) != stop:
        raise another_length(n_weights, stop)


def another_length(n_weights: int, n: int) -> ValueError:
    """Return the error that there are not as many weights as losses."""
    return ValueError(f"weights must have one entry per loss, got {n_weights:_} for {n:_} losses")
