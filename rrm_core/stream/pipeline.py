"""Passes over a source: counting rounds until the plan is complete, and one pass that writes the weights.

A pass splits the source into jobs, which threads process in tiles that fit in the processor's cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..arrays.convert import convert_weights, to_host
from ..backends import registry
from ..definition.counting import MISSING
from ..definition.formats import BY_NAME, WEIGHT_FORMATS, Array, Format
from ..definition.old_weights import InvalidWeights, merge_invalid, raise_invalid_weights
from ..definition.plan import Plan
from ..definition.rule import Rule
from ..planner.planner import Planner
from .budget import Budget
from .parts import Parts
from .sinks import Sink
from .source import Chunk, Job, Source, iter_jobs, raise_length_mismatch
from .thread_pool import map_ordered

TILE_BYTES = 2 << 20  # losses that are read and then processed while they are in the cache
LAZY_JOB_BYTES = 32 << 20  # losses of a job that takes no memory: short enough to react to an interrupt soon
JOB_BYTES = 4 << 20  # losses of a job that takes memory, or that should leave some of a chunk for other threads
WORKSPACE_BYTES = 8 << 20  # memory of a thread for a tile, and its counts or weights
CONVERTED_SAMPLES = 1 << 16  # weights of the other type that are converted at a time
LARGE_WORKSPACE_BYTES = 16 << 20  # the same with the weights of a job, and the buffers of a decoder or an encoder


class _Sizes(NamedTuple):
    """How a pass is split.

    Attributes
    ----------
    max_samples, tile : int
        Number of samples of a job and of a tile.
    n_workspaces : int
        See `thread_pool.map_ordered`.
    threads : int
        Number of threads of a kernel.
    """

    max_samples: int
    tile: int
    n_workspaces: int
    threads: int


def _choose_sizes(losses: Source, itemsize: int, budget: Budget, *, lazy: bool) -> _Sizes:
    """Return the sizes for losses of `itemsize` bytes; `lazy` means that a job takes no memory until it is read."""
    if lazy:
        job_bytes = LAZY_JOB_BYTES
        workspace_bytes = WORKSPACE_BYTES
    else:
        job_bytes = JOB_BYTES
        workspace_bytes = LARGE_WORKSPACE_BYTES
    max_samples = job_bytes // itemsize
    n_workspaces = budget.n_workspaces(losses, max_samples, workspace_bytes)
    # Either several jobs run at a time, or one job in several threads.
    threads = budget.threads if n_workspaces == 1 else 1
    return _Sizes(max_samples, TILE_BYTES // itemsize, n_workspaces, threads)


def count_losses(losses: Source, rule: Rule, budget: Budget) -> tuple[Plan, int]:
    """Count all losses in as many rounds as the plan takes.

    Returns
    -------
    plan : Plan
    checksum : int
        `Planner.checksum` of the losses.

    Raises
    ------
    RuntimeError
        The losses changed between two rounds.
    """
    # Losses of unknown type may be float64.
    itemsize = 8 if losses.format is None else losses.format.storage.itemsize
    sizes = _choose_sizes(losses, itemsize, budget, lazy=losses.random_access)
    planner = Planner.from_rule(rule)

    def process(job: Job, workspace: _CountWorkspace) -> None:
        for first, last in _tiles(job, sizes.tile):
            workspace.planner.update(job.losses.read(first, last, workspace.memory), offset=first)

    while not planner.done:
        what = f"round {planner.round}"

        def report(job: Job, _: None, what: str = what) -> None:
            budget.report(job.stop, losses.n, what)

        losses.check()
        start = planner.partial()
        workspaces = [
            _CountWorkspace(Planner.from_partial(start, threads=sizes.threads), _allocate(TILE_BYTES))
            for _ in range(sizes.n_workspaces)
        ]
        budget.report(0, losses.n, what)
        map_ordered(iter_jobs(losses, None, sizes.max_samples), process, report, workspaces)
        losses.check()
        for workspace in workspaces:
            planner.merge(workspace.planner)
        try:
            planner.advance()
        except ValueError as error:
            if planner.round == 1:
                raise ValueError(f"{error}{_location(losses, planner)}") from error
            raise RuntimeError(f"{losses.name} changed while it was read: {error}") from error
    return planner.plan, planner.checksum


def _location(losses: Source, planner: Planner) -> str:
    """Return where the first NaN or -inf lies, for the end of a message, if the losses come in several files."""
    _, first_nan, first_neg_inf = planner.partial()["minima"].tolist()[:3]
    index = first_nan if planner.rule.nan == "raise" and first_nan != MISSING else first_neg_inf
    if index == MISSING or not isinstance(losses, Parts):
        return ""
    return f"; it is {losses.locate(index)}"


class _CountWorkspace(NamedTuple):
    planner: Planner
    memory: Array


def write_weights(
    plan: Plan, checksum: int, losses: Source, weights: Source | None, mu: float, sink: Sink, budget: Budget
) -> None:
    """Apply the plan to all losses, write the weights to the sink, and commit it.

    Parameters
    ----------
    plan : Plan
    checksum : int
        `Planner.checksum` of the losses that were planned.
    losses : Source
    weights : Source, optional
        The current weights; ones if None.
    mu : float
    sink : Sink
    budget : Budget

    Raises
    ------
    RuntimeError
        The losses are not those that were planned.
    TypeError, ValueError
        The type or the number of the weights differs from that of the losses; or weights are NaN, infinite or
        negative, which is raised once all have been read.
    """
    lazy = losses.random_access and (weights is None or weights.random_access) and not sink.needs_order
    itemsize = BY_NAME[plan.dtype].storage.itemsize
    sizes = _choose_sizes(losses, itemsize, budget, lazy=lazy)
    writer = _WeightWriter(plan, losses, weights, mu, sink, sizes)
    workspaces = [writer.make_workspace() for _ in range(sizes.n_workspaces)]
    sources = [source for source in (losses, weights) if source is not None]

    def write(job: Job, result: _JobResult) -> None:
        writer.write(job, result)
        budget.report(job.stop, plan.n, "writing")

    for source in sources:
        source.check()
    budget.report(0, plan.n, "writing")
    map_ordered(iter_jobs(losses, weights, sizes.max_samples, plan.n), writer.process, write, workspaces)
    for source in sources:
        source.check()
    if writer.n != plan.n or writer.checksum != checksum:
        raise RuntimeError(f"{losses.name} changed between planning and writing; do not modify them meanwhile")
    if writer.invalid is not None:
        assert weights is not None
        raise_invalid_weights(writer.invalid, plan.n, written=False, name=weights.name)
    sink.commit()


class _WriteWorkspace(NamedTuple):
    losses: Array
    weights: Array


class _JobResult(NamedTuple):
    """What a job leaves to be done, and what it found.

    Attributes
    ----------
    weights : array
        The new weights still to be written.
    checksum : int
        Checksum of the losses.
    invalid : InvalidWeights or None
        The invalid old weights.
    """

    weights: Array
    checksum: int
    invalid: InvalidWeights | None


class _WeightWriter:
    """Computes the weights of jobs, and writes them to a sink.

    Attributes
    ----------
    n : int
        Number of samples processed.
    invalid : InvalidWeights or None
        The invalid old weights found so far. From the first of them on nothing is written.
    """

    def __init__(
        self, plan: Plan, losses: Source, weights: Source | None, mu: float, sink: Sink, sizes: _Sizes
    ) -> None:
        self._plan = plan
        self._format = BY_NAME[plan.dtype]
        self._losses = losses
        self._weights = weights
        self._mu = mu
        self._sink = sink
        self._sizes = sizes
        self._backend = registry.choose_counting(None)
        self._sum = 0
        self.n = 0
        self.invalid: InvalidWeights | None = None

    @property
    def checksum(self) -> int:
        """Checksum of the losses of all jobs."""
        return self._sum % 2**32

    def make_workspace(self) -> _WriteWorkspace:
        """Allocate a workspace."""
        if self._sink.keeps_buffers:
            n_weights = 0
        elif self._sink.needs_order:
            n_weights = self._sizes.max_samples
        else:
            n_weights = self._sizes.tile
        return _WriteWorkspace(_allocate(TILE_BYTES), _allocate(n_weights * self._format.weights.itemsize))

    def process(self, job: Job, workspace: _WriteWorkspace) -> _JobResult:
        """Compute the weights of a job, and write them unless the sink needs order."""
        sink = self._sink
        if sink.keeps_buffers:
            buffer = np.empty(job.stop - job.start, self._format.weights)
        else:
            buffer = workspace.weights.view(self._format.weights)
        checksum = 0
        invalid = None
        for first, last in _tiles(job, self._sizes.tile):
            start = first - job.start if sink.needs_order else 0
            out = buffer[start : start + last - first]
            tile_checksum, tile_invalid = self._apply(job, first, last, workspace.losses, out)
            checksum += tile_checksum
            invalid = merge_invalid(invalid, tile_invalid)
            if not sink.needs_order:
                sink.write(first, out)
        n_left = job.stop - job.start if sink.needs_order else 0
        return _JobResult(buffer[:n_left], checksum, invalid)

    def _apply(self, job: Job, first: int, last: int, memory: Array, out: Array) -> tuple[int, InvalidWeights | None]:
        """Compute the weights of a tile into `out`; return the checksum of its losses and its invalid old weights."""
        losses = self._read_losses(job.losses.read(first, last, memory))
        weights = None
        if self._weights is not None and job.weights is not None:
            weights = self._read_weights(self._weights, job.weights, first, last, out)
        if not len(losses):
            return 0, None
        checksum = self._backend.checksum(losses)
        _, invalid = self._backend.apply(self._plan, losses, weights, self._mu, out, self._sizes.threads)
        if invalid is not None:
            invalid = invalid._replace(first=first + invalid.first)
        return checksum, invalid

    def _read_losses(self, losses: Any) -> Array:
        view: Array
        view, format = to_host(self._losses.name, losses)
        if format != self._format:
            raise RuntimeError(
                f"{self._losses.name} changed between planning and writing, from {self._format.name} to {format.name}"
            )
        return view

    def _read_weights(self, source: Source, chunk: Chunk, first: int, last: int, out: Array) -> Array:
        """Return the old weights of a tile; those of the other type are converted into `out`."""
        dtype = self._format.weights
        # Weights from a file are read into the memory of the new weights, which replace them.
        size = max(last - first, 1)
        memory = out.view(np.uint8)
        if source.format is not None and source.format.storage.itemsize > dtype.itemsize:
            # They do not fit there.
            size = CONVERTED_SAMPLES
            memory = _allocate(size * source.format.storage.itemsize)
        for start in range(first, max(last, first + 1), size):
            view: Array
            view, format = to_host(source.name, chunk.read(start, min(start + size, last), memory))
            _require_weight_type(source.name, format, self._format)
            if view.dtype == dtype:
                return view
            part = out[start - first : start - first + len(view)]
            part[...] = convert_weights(source.name, view, dtype, start)
        return out

    def write(self, job: Job, result: _JobResult) -> None:
        """Write what `process` has left to write."""
        self.n = job.stop
        self._sum += result.checksum
        self.invalid = merge_invalid(self.invalid, result.invalid)
        if self.invalid is not None:
            return
        if self._sink.needs_order:
            self._sink.write(job.start, result.weights)
        if job.ends_chunk:
            self._sink.end_chunk()


def check_weights_match(weights: Source | None, n: int | None, losses: Format | None) -> None:
    """Raise a TypeError or ValueError if weights do not match the losses, as far as both are known yet.

    Parameters
    ----------
    weights : Source, optional
    n : int, optional
        Number of losses.
    losses : Format, optional
        Type of the losses.
    """
    if weights is None:
        return
    if weights.format is not None and losses is not None:
        _require_weight_type(weights.name, weights.format, losses)
    if weights.n is not None and n is not None and weights.n != n:
        raise_length_mismatch(weights.n, n)


def _require_weight_type(name: str, weights: Format, losses: Format) -> None:
    """Raise a TypeError unless weights of this type are those for losses of that type, or can be converted to them."""
    expected = losses.weights.name
    if weights not in WEIGHT_FORMATS:
        raise TypeError(
            f"{name} must be {expected} for {losses.name} losses, got {weights.name}; convert it to {expected}"
        )


def _tiles(job: Job, size: int) -> list[tuple[int, int]]:
    """Return the tiles of a job as (first, last); an empty job has an empty one, so that its type is checked too."""
    return [(first, min(first + size, job.stop)) for first in range(job.start, max(job.stop, job.start + 1), size)]


def _allocate(n_bytes: int) -> Array:
    return np.empty(n_bytes, np.uint8)
