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
    weight_chunks = iter(()) if weights is None else weights.chunks(max_samples)
    weight_chunk: Chunk | None = None
    stop = 0
    for chunk in losses.chunks(max_samples):
        first, stop = chunk.start, chunk.stop
        while True:
            last = min(first + max_samples, stop)
            if weights is not None and first < stop:
                weight_chunk = _chunk_with(first, weight_chunk, weight_chunks, n)
                last = min(last, weight_chunk.stop)
            ends_chunk = last == stop
            exclusive = ends_chunk and not losses.stable
            if weights is not None and weight_chunk is not None and last == weight_chunk.stop and not weights.stable:
                exclusive = True
            yield Job(first, last, chunk, weight_chunk, ends_chunk, exclusive)
            first = last
            if first == stop:
                break
    if weights is None:
        return
    # Chunks beyond the losses, of which empty ones are allowed.
    for chunk in weight_chunks:
        weight_chunk = chunk
    n_weights = 0 if weight_chunk is None else weight_chunk.stop
    if n_weights != stop:
        raise_length_mismatch(n_weights, stop)


def _chunk_with(sample: int, chunk: Chunk | None, following: Iterator[Chunk], n: int) -> Chunk:
    """Return the chunk of weights that contains a sample: the current one or one of the following."""
    while chunk is None or chunk.stop <= sample:
        n_weights = 0 if chunk is None else chunk.stop
        chunk = next(following, None)
        if chunk is None:
            raise_length_mismatch(n_weights, n)
    return chunk


def raise_length_mismatch(n_weights: int, n_losses: int) -> NoReturn:
    """Raise the ValueError for numbers of weights and losses that differ."""
    raise ValueError(f"weights must have one entry per loss, got {n_weights:_} for {n_losses:_} losses")
