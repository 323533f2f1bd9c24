"""The passes over a source: rounds of counting until there is a plan, and one that writes the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..arrays import convert as arrays
from ..backends import registry as dispatch
from ..definition.formats import BY_NAME, Array, Format
from ..definition.plan import Plan
from ..planner.planner import Planner
from .sinks import Sink
from .source import Job, Source, jobs
from .thread_pool import carry_out

PIECE = 2 << 20  # bytes of losses that are read and then counted, while they are in the processor's cache
RANGE = 32 << 20  # bytes of losses in a job whose size takes no memory: few enough to hear of an interrupt soon
BLOCK = 4 << 20  # in one whose size does, or that should leave some of a chunk for other threads
DESK = 8 << 20  # bytes that a thread needs for a piece, and its counts or its weights
WIDE_DESK = 16 << 20  # or for a block of weights, and what a decoder or an encoder holds of it
LEAST = 16 << 20  # bytes to work with at all

Progress: TypeAlias = Callable[[int, "int | None", str], Any]


@dataclass(frozen=True)
class Means:
    """What a pass may use, and whom it tells how far it is."""

    memory: int
    threads: int
    progress: Progress | None

    def desks(self, source: Source, most: int, each: int) -> int:
        """Return at how many desks, of so many bytes each, to work on jobs of `most` samples."""
        n_jobs = self.threads if source.n is None else -(-source.n // most)
        threads = min(self.threads, n_jobs, self.memory // each - 1)
        return threads + 1 if threads > 1 else 1

    def say(self, done: int, total: int | None, what: str) -> None:
        """Tell how many samples are done with."""
        if self.progress is not None:
            self.progress(done, total, what)


def _pieces(job: Job, size: int) -> list[tuple[int, int]]:
    """Return the pieces of a job: one, if it has no samples, so that the type of none is seen too."""
    return [(first, min(first + size, job.stop)) for first in range(job.start, max(job.stop, job.start + 1), size)]


def _itemsize(source: Source) -> int:
    return 8 if source.format is None else source.format.storage.itemsize


class _Counter(NamedTuple):
    planner: Planner
    memory: Array


def count(losses: Source, planner: Planner, means: Means) -> tuple[Plan, int]:
    """Count all losses in as many rounds as it takes; return the plan and the losses' checksum."""
    itemsize = _itemsize(losses)
    most, piece = (RANGE if losses.lazy else BLOCK) // itemsize, PIECE // itemsize
    n_desks = means.desks(losses, most, DESK if losses.lazy else WIDE_DESK)

    def work(job: Job, desk: _Counter) -> None:
        for first, last in _pieces(job, piece):
            desk.planner.update(job.losses.read(first, last, desk.memory), offset=first)

    while not planner.done:
        what = f"round {planner.round}"

        def done(job: Job, _: None, what: str = what) -> None:
            means.say(job.stop, losses.n, what)

        losses.check()
        question = planner.partial()
        desks = [
            _Counter(Planner.from_partial(question, threads=means.threads if n_desks == 1 else 1), _memory(PIECE))
            for _ in range(n_desks)
        ]
        means.say(0, losses.n, what)
        carry_out(jobs(losses, None, most), work, done, desks)
        losses.check()
        for desk in desks:
            planner.merge(desk.planner)
        try:
            planner.advance()
        except ValueError as error:
            if planner.round == 1:
                raise
            raise RuntimeError(f"{losses.name} changed while it was read: {error}") from error
    return planner.plan, planner.checksum


class _Writer(NamedTuple):
    losses: Array
    weights: Array


def write(
    plan: Plan, checksum: int, losses: Source, weights: Source | None, mu: float, sink: Sink, means: Means
) -> None:
    """Apply the plan to all losses, and hand the weights to the sink, which is told when they are complete.

    Raises
    ------
    RuntimeError
        The losses aren't those that were planned.
    """
    format = BY_NAME[plan.dtype]
    itemsize, wide = format.storage.itemsize, format.weights.itemsize
    lazy = losses.lazy and (weights is None or weights.lazy) and not sink.ordered
    most, piece = (RANGE if lazy else BLOCK) // itemsize, PIECE // itemsize
    n_desks = means.desks(losses, most, DESK if lazy else WIDE_DESK)
    threads = means.threads if n_desks == 1 else 1
    backend = dispatch.choose_counting(None)
    held = most if sink.ordered else piece
    desks = [_Writer(_memory(PIECE), _memory(wide * (0 if sink.fresh else held))) for _ in range(n_desks)]

    def work(job: Job, desk: _Writer) -> tuple[Array, int]:
        new = np.empty(job.stop - job.start, format.weights) if sink.fresh else desk.weights.view(format.weights)
        sums = 0
        for first, last in _pieces(job, piece):
            begin = first - job.start if sink.ordered else 0
            out = new[begin : begin + last - first]
            c = _planned(format, losses.name, job.losses.read(first, last, desk.losses))
            old = None
            if weights is not None and job.weights is not None:
                # What comes from a file is read into the memory of the new weights, which replace it.
                old = _previous(format, weights.name, job.weights.read(first, last, out.view(np.uint8)))
            if len(c):
                sums += backend.checksum(c)
                backend.apply(plan, c, old, mu, out, threads)
            if not sink.ordered:
                sink.write(first, out)
        return new[: job.stop - job.start] if sink.ordered else new[:0], sums

    rows = seen = 0

    def done(job: Job, result: tuple[Array, int]) -> None:
        nonlocal rows, seen
        new, sums = result
        rows, seen = job.stop, seen + sums
        if sink.ordered:
            sink.write(job.start, new)
        if job.completes:
            sink.end_part()
        means.say(job.stop, plan.n, "writing")

    sources = [source for source in (losses, weights) if source is not None]
    for source in sources:
        source.check()
    means.say(0, plan.n, "writing")
    carry_out(jobs(losses, weights, most, plan.n), work, done, desks)
    for source in sources:
        source.check()
    if (rows, seen % 2**32) != (plan.n, checksum):
        raise RuntimeError(f"{losses.name} changed between planning and writing; leave them as they are meanwhile")
    sink.finish()


def _planned(format: Format, name: str, losses: Any) -> Array:
    """Return losses as a backend takes them."""
    view: Array
    view, found = arrays.read_on_host(name, losses)
    if found != format:
        raise RuntimeError(f"{name} changed between planning and writing, from {format.name} to {found.name}")
    return view


def _previous(format: Format, name: str, weights: Any) -> Array:
    """Return previous weights as a backend takes them."""
    view: Array
    view, found = arrays.read_on_host(name, weights)
    require_type(name, found, format)
    return view


def require_type(name: str, found: Format, losses: Format) -> None:
    """Raise a TypeError unless weights of the type that was found belong to losses of theirs."""
    wanted = losses.weights.name
    if found.storage != losses.weights:
        raise TypeError(f"{name} must be {wanted} for {losses.name} losses, got {found.name}; convert it to {wanted}")


def _memory(size: int) -> Array:
    return np.empty(size, np.uint8)
