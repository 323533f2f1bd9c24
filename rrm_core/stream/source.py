"""Sources of losses and weights, read in chunks; jobs, which cover the chunks of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn, Protocol

from ..definition.formats import Array, Format


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
    """Losses or weights that can be read repeatedly."""

    @property
    def name(self) -> str:
        """Name of the argument, with the path if it is a file, for messages."""

    @property
    def n(self) -> int | None:
        """Number of samples; None if unknown before all are read."""

    @property
    def format(self) -> Format | None:
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
    ends_chunk : bool
        True if they are the last samples of the chunk of losses.
    exclusive : bool
        True if the job must be completed before the next one is requested: a chunk becomes invalid then.
    """

    start: int
    stop: int
    losses: Chunk
    weights: Chunk | None
    ends_chunk: bool
    exclusive: bool


def iter_jobs(losses: Source, weights: Source | None, max_samples: int, n: int = 0) -> Iterator[Job]:
    """Yield jobs of at most `max_samples` samples in order; each lies in one chunk of either source.

    An empty chunk of losses yields an empty job.

    Parameters
    ----------
    losses : Source
    weights : Source, optional
    max_samples : int
    n : int
        Number of losses, for the message if there are fewer weights.

    Raises
    ------
    ValueError
        The numbers of losses and weights differ.
    """
    if weights is None:
        yield from _jobs_of_losses(losses, max_samples)
        return
    cursor = _WeightCursor(weights, max_samples, n)
    stop = 0
    for chunk in losses.chunks(max_samples):
        first, stop = chunk.start, chunk.stop
        while True:
            last = min(first + max_samples, stop)
            if first < stop:
                last = min(last, cursor.move_to(first).stop)
            ends_chunk = last == stop
            exclusive = (ends_chunk and not losses.stable) or cursor.invalid_after(last)
            yield Job(first, last, chunk, cursor.chunk, ends_chunk, exclusive)
            if ends_chunk:
                break
            first = last
    n_weights = cursor.count_all()
    if n_weights != stop:
        raise_length_mismatch(n_weights, stop)


def _jobs_of_losses(losses: Source, max_samples: int) -> Iterator[Job]:
    for chunk in losses.chunks(max_samples):
        # An empty chunk has one start, too.
        for first in range(chunk.start, max(chunk.stop, chunk.start + 1), max_samples):
            last = min(first + max_samples, chunk.stop)
            ends_chunk = last == chunk.stop
            yield Job(first, last, chunk, None, ends_chunk, exclusive=ends_chunk and not losses.stable)


def tiles(job: Job, size: int) -> list[tuple[int, int]]:
    """Return the tiles of a job as (first, last); an empty job has an empty one, so that its type is checked too."""
    return [(first, min(first + size, job.stop)) for first in range(job.start, max(job.stop, job.start + 1), size)]


class _WeightCursor:
    """Position in the chunks of weights.

    Parameters
    ----------
    weights : Source
    max_samples : int
    n : int
        Number of losses, for the message if there are fewer weights.

    Attributes
    ----------
    chunk : Chunk or None
        The current chunk; None at the start.
    """

    def __init__(self, weights: Source, max_samples: int, n: int) -> None:
        self._chunks = weights.chunks(max_samples)
        self._stable = weights.stable
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
            n_weights = self._stop
            self.chunk = next(self._chunks, None)
            if self.chunk is None:
                raise_length_mismatch(n_weights, self._n_losses)
        return self.chunk

    def invalid_after(self, stop: int) -> bool:
        """Return True if the current chunk ends at `stop` and becomes invalid when the next one is requested."""
        return self.chunk is not None and self.chunk.stop == stop and not self._stable

    def count_all(self) -> int:
        """Read the remaining chunks, and return the number of weights."""
        for chunk in self._chunks:
            self.chunk = chunk
        return self._stop


def raise_length_mismatch(n_weights: int, n_losses: int) -> NoReturn:
    """Raise the ValueError for numbers of weights and losses that differ."""
    raise ValueError(f"weights must have one entry per loss, got {n_weights:_} for {n_losses:_} losses")
