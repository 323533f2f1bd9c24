"""Sources of losses and weights, read in chunks; jobs, which cover the chunks of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn, Protocol

from ..definition.formats import Array
from .values import ElementType


class Chunk(NamedTuple):
    """Consecutive samples of a source.

    Attributes
    ----------
    start, stop : int
        Indices of its samples among all samples of the source: ``range(start, stop)``.
    read : callable
        ``read(first, last, memory)`` returns the samples ``range(first, last)``, which lie in the chunk, as an array of
        any framework. `memory`, a uint8 array that is large enough, may hold the result.
    """

    start: int
    stop: int
    read: Callable[[int, int, Array], Any]


class Source(Protocol):
    """Losses, weights or numbers of groups that can be read repeatedly."""

    @property
    def name(self) -> str:
        """Name of the argument, with the path if it is a file, for messages."""

    @property
    def n(self) -> int | None:
        """Number of samples; None if unknown before all are read."""

    @property
    def format(self) -> ElementType | None:
        """Type of the samples; None if unknown before they are read."""

    @property
    def stable(self) -> bool:
        """True if a chunk remains valid after the next one is requested."""

    @property
    def random_access(self) -> bool:
        """True if a chunk takes no memory before it is read."""

    def chunks(self, max_samples: int) -> Iterator[Chunk]:
        """Yield all chunks in order, of at most `max_samples` samples if the source can choose their size."""

    def check(self) -> None:
        """Raise a RuntimeError if the source is known to have changed since it was opened."""

    def close(self) -> None:
        """Close the files of the source."""


class Job(NamedTuple):
    """Samples to process at a time.

    Attributes
    ----------
    start, stop : int
        Indices of the samples: ``range(start, stop)``.
    losses : Chunk
        Chunk that contains their losses.
    weights : Chunk or None
        Chunk that contains their current weights, if these are read.
    groups : Chunk or None
        Chunk that contains the numbers of their groups, if there are groups.
    ends_chunk : bool
        True if they are the last samples of the chunk of losses.
    exclusive : bool
        True if the job must be completed before the next one is requested: a chunk becomes invalid then.
    """

    start: int
    stop: int
    losses: Chunk
    weights: Chunk | None
    groups: Chunk | None
    ends_chunk: bool
    exclusive: bool


def iter_jobs(
    losses: Source, weights: Source | None, max_samples: int, n: int | None = None, groups: Source | None = None
) -> Iterator[Job]:
    """Yield jobs of at most `max_samples` samples in order; each lies in one chunk of every source.

    An empty chunk of losses yields an empty job.

    Parameters
    ----------
    losses : Source
    weights : Source, optional
    max_samples : int
    n : int, optional
        Number of losses, if known, for the message if there are fewer weights or groups.
    groups : Source, optional

    Raises
    ------
    ValueError
        The numbers of losses and of weights or groups differ.
    """
    if weights is None and groups is None:
        yield from _jobs_of_losses(losses, max_samples)
        return
    weight_cursor = None if weights is None else _Cursor("weights", weights, max_samples, n)
    group_cursor = None if groups is None else _Cursor(groups.name, groups, max_samples, n)
    cursors = [cursor for cursor in (weight_cursor, group_cursor) if cursor is not None]
    stop = 0
    for chunk in losses.chunks(max_samples):
        first, stop = chunk.start, chunk.stop
        while True:
            last = min(first + max_samples, stop)
            if first < stop:
                for cursor in cursors:
                    last = min(last, cursor.move_to(first).stop)
            ends_chunk = last == stop
            exclusive = ends_chunk and not losses.stable
            for cursor in cursors:
                exclusive = exclusive or cursor.invalid_after(last)
            weight_chunk = None if weight_cursor is None else weight_cursor.chunk
            group_chunk = None if group_cursor is None else group_cursor.chunk
            yield Job(first, last, chunk, weight_chunk, group_chunk, ends_chunk, exclusive)
            if ends_chunk:
                break
            first = last
    for cursor in cursors:
        cursor.check_length(stop)


def _jobs_of_losses(losses: Source, max_samples: int) -> Iterator[Job]:
    for chunk in losses.chunks(max_samples):
        # An empty chunk has one start, too.
        for first in range(chunk.start, max(chunk.stop, chunk.start + 1), max_samples):
            last = min(first + max_samples, chunk.stop)
            ends_chunk = last == chunk.stop
            yield Job(first, last, chunk, None, None, ends_chunk, exclusive=ends_chunk and not losses.stable)


def tiles(job: Job, size: int) -> list[tuple[int, int]]:
    """Return the tiles of a job as (first, last); an empty job has an empty one, so that its type is checked too."""
    return [(first, min(first + size, job.stop)) for first in range(job.start, max(job.stop, job.start + 1), size)]


class _Cursor:
    """Position in the chunks of weights or groups.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    source : Source
    max_samples : int
    n : int, optional
        Number of losses, if known, for the message if there are fewer.

    Attributes
    ----------
    chunk : Chunk or None
        The current chunk; None at the start.
    """

    def __init__(self, name: str, source: Source, max_samples: int, n: int | None) -> None:
        self._name = name
        self._chunks = source.chunks(max_samples)
        self._stable = source.stable
        self._n_losses = n
        self.chunk: Chunk | None = None

    @property
    def _stop(self) -> int:
        if self.chunk is None:
            return 0
        return self.chunk.stop

    def move_to(self, sample: int) -> Chunk:
        """Move on to the chunk that contains a sample."""
        while self.chunk is None or self.chunk.stop <= sample:
            n = self._stop
            self.chunk = next(self._chunks, None)
            if self.chunk is None:
                raise_length_mismatch(self._name, n, self._n_losses)
        return self.chunk

    def invalid_after(self, stop: int) -> bool:
        """Return True if the current chunk ends at `stop` and becomes invalid when the next one is requested."""
        return self.chunk is not None and self.chunk.stop == stop and not self._stable

    def check_length(self, n_losses: int) -> None:
        """Read the remaining chunks; raise a ValueError unless there is an entry for each of the losses."""
        for chunk in self._chunks:
            self.chunk = chunk
        if self._stop != n_losses:
            raise_length_mismatch(self._name, self._stop, n_losses)


def raise_length_mismatch(name: str, n: int, n_losses: int | None) -> NoReturn:
    """Raise the ValueError for numbers of weights or groups and of losses that differ; None for an unknown number."""
    n_others = "more" if n_losses is None else f"{n_losses:_}"
    raise ValueError(f"{name} must have one entry per loss, got {n:_} for {n_others} losses")
