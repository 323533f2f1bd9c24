"""Passes over a source: counting rounds until the plan is complete, and one pass that writes the weights.

A pass splits the source into jobs, which threads process in tiles that fit in the processor's cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..definition.counting import MISSING
from ..definition.formats import BY_NAME, Array
from ..definition.old_weights import raise_invalid_weights
from ..definition.plan import Plan
from ..definition.rule import Rule
from ..planner.planner import Planner
from .budget import Budget, Sizes
from .parts import Parts
from .sinks import Sink
from .source import Job, Source, iter_jobs, tiles
from .thread_pool import map_ordered
from .weight_writer import JobResult, WeightWriter

TILE_BYTES = 2 << 20  # losses that are read and then processed while they are in the cache
LAZY_JOB_BYTES = 32 << 20  # losses of a job that takes no memory: short enough to react to an interrupt soon
JOB_BYTES = 4 << 20  # losses of a job that takes memory, or that should leave some of a chunk for other threads
WORKSPACE_BYTES = 8 << 20  # memory of a thread for a tile, and its counts or weights
LARGE_WORKSPACE_BYTES = 16 << 20  # the same with the weights of a job, and the buffers of a decoder or an encoder


def _choose_sizes(losses: Source, itemsize: int, budget: Budget, *, lazy: bool) -> Sizes:
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
    return Sizes(max_samples, TILE_BYTES // itemsize, n_workspaces, threads)


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
        for first, last in tiles(job, sizes.tile):
            workspace.planner.update(job.losses.read(first, last, workspace.memory), offset=first)

    while not planner.done:
        what = f"round {planner.round}"

        def report(job: Job, _: None, what: str = what) -> None:
            budget.report(job.stop, losses.n, what)

        losses.check()
        start = planner.partial()
        workspaces = [
            _CountWorkspace(Planner.from_partial(start, threads=sizes.threads), np.empty(TILE_BYTES, np.uint8))
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
    writer = WeightWriter(plan, losses, weights, mu, sink, sizes)
    workspaces = [writer.make_workspace() for _ in range(sizes.n_workspaces)]
    sources = [source for source in (losses, weights) if source is not None]

    def write(job: Job, result: JobResult) -> None:
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
