"""The new weights of a pass: computed job by job from the losses and the old weights, and written to a sink."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from ..arrays.convert import to_host
from ..arrays.weight_types import convert_weights
from ..backends import registry
from ..definition.formats import BY_NAME, WEIGHT_FORMATS, Array
from ..definition.group_plan import GroupedPlan
from ..definition.old_weights import InvalidWeights, merge_invalid
from ..definition.plan import Plan
from .budget import Sizes
from .group_source import GROUP_BYTES, GroupSource
from .sinks import Sink
from .source import Chunk, Job, Source, raise_length_mismatch, tiles
from .values import ElementType

CONVERTED_SAMPLES = 1 << 16  # weights of the other type that are converted at a time


class WriteWorkspace(NamedTuple):
    """Memory of a worker for the losses of a tile, for new weights, and for the groups of a tile."""

    losses: Array
    weights: Array
    groups: Array


class JobResult(NamedTuple):
    """Result of a job.

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


class WeightWriter:
    """Computes the weights of jobs, and writes them to a sink.

    Attributes
    ----------
    n : int
        Number of samples processed.
    invalid : InvalidWeights or None
        The invalid old weights so far. After the first of them nothing is written.
    """

    def __init__(
        self,
        plan: Plan | GroupedPlan,
        losses: Source,
        weights: Source | None,
        groups: GroupSource | None,
        mu: float,
        sink: Sink,
        sizes: Sizes,
    ) -> None:
        self._plan = plan
        self._format = BY_NAME[plan.dtype]
        self._losses = losses
        self._weights = weights
        self._groups = groups
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

    def make_workspace(self) -> WriteWorkspace:
        """Allocate a workspace."""
        if self._sink.keeps_buffers:
            n_weights = 0
        elif self._sink.needs_order:
            n_weights = self._sizes.max_samples
        else:
            n_weights = self._sizes.tile
        return WriteWorkspace(
            np.empty(self._sizes.tile * self._format.storage.itemsize, np.uint8),
            np.empty(n_weights * self._format.weights.itemsize, np.uint8),
            np.empty(0 if self._groups is None else self._sizes.tile * GROUP_BYTES, np.uint8),
        )

    def process(self, job: Job, workspace: WriteWorkspace) -> JobResult:
        """Compute the weights of a job, and write them unless the sink needs order."""
        sink = self._sink
        if sink.keeps_buffers:
            buffer = np.empty(job.stop - job.start, self._format.weights)
        else:
            buffer = workspace.weights.view(self._format.weights)
        checksum = 0
        invalid = None
        for first, last in tiles(job, self._sizes.tile):
            start = first - job.start if sink.needs_order else 0
            out = buffer[start : start + last - first]
            tile_checksum, tile_invalid = self._apply(job, first, last, workspace, out)
            checksum += tile_checksum
            invalid = merge_invalid(invalid, tile_invalid)
            if not sink.needs_order:
                sink.write(first, out)
        n_left = job.stop - job.start if sink.needs_order else 0
        return JobResult(buffer[:n_left], checksum, invalid)

    def _apply(
        self, job: Job, first: int, last: int, workspace: WriteWorkspace, out: Array
    ) -> tuple[int, InvalidWeights | None]:
        """Compute the weights of a tile into `out`; return the checksum of its losses and its invalid old weights."""
        losses = self._read_losses(job.losses.read(first, last, workspace.losses))
        weights = None
        if self._weights is not None and job.weights is not None:
            weights = self._read_weights(self._weights, job.weights, first, last, out)
        if not len(losses):
            return 0, None
        plan = self._plan
        if isinstance(plan, GroupedPlan):
            assert self._groups is not None
            assert job.groups is not None
            numbers = self._groups.read(job.groups, first, last, workspace.groups)
            checksum = self._backend.group_checksum(losses, numbers.numbers)
            backend = cast(registry.GroupingBackend, self._backend)
            grouped = backend.grouped_losses(losses, numbers, self._sizes.threads)
            _, invalid = grouped.write(plan, weights, self._mu, out)
        else:
            checksum = self._backend.checksum(losses)
            _, invalid = self._backend.apply(plan, losses, weights, self._mu, out, self._sizes.threads)
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
            memory = np.empty(size * source.format.storage.itemsize, np.uint8)
        for start in range(first, max(last, first + 1), size):
            view: Array
            view, format = to_host(source.name, chunk.read(start, min(start + size, last), memory))
            require_weight_type(source.name, format, self._format)
            if view.dtype == dtype:
                return view
            part = out[start - first : start - first + len(view)]
            part[...] = convert_weights(source.name, view, dtype, start)
        return out

    def write(self, job: Job, result: JobResult) -> None:
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


def check_weights_match(weights: Source | None, n: int | None, losses: Any) -> None:
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
        require_weight_type(weights.name, weights.format, losses)
    if weights.n is not None and n is not None and weights.n != n:
        raise_length_mismatch("weights", weights.n, n)


def require_weight_type(name: str, weights: ElementType, losses: Any) -> None:
    """Raise a TypeError unless weights of this type are those for losses of that type, or can be converted to them."""
    expected = losses.weights.name
    if weights not in WEIGHT_FORMATS:
        raise TypeError(
            f"{name} must be {expected} for {losses.name} losses, got {weights.name}; convert it to {expected}"
        )
