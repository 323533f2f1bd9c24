"""Passes over a source: counting rounds until the plan is complete, and one pass that writes the weights.

A pass splits the source into jobs, which threads process in tiles that fit in the processor's cache.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..definition.counting import MISSING
from ..definition.formats import BY_NAME, Array
from ..definition.group_counting import MIN_BITS, choose_bits, histogram_bytes
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import EmptiedGroupError
from ..definition.old_weights import raise_invalid_weights
from ..definition.plan import Plan
from ..definition.rule import Rule
from ..planner.planner import Planner
from .budget import Budget, Sizes
from .group_source import GROUP_BYTES, GroupSource
from .parts import Parts
from .sinks import Sink
from .source import Job, Source, iter_jobs, tiles
from .thread_pool import map_ordered
from .weight_writer import JobResult, WeightWriter

TILE_BYTES = 2 << 20  # losses that are read and then processed while they are in the cache
LAZY_JOB_BYTES = 32 << 20  # losses of a job that takes no memory: short enough to react to an interrupt soon
JOB_BYTES = 4 << 20  # losses of a job that takes memory, or that should leave some of a chunk for other threads
WORKSPACE_BYTES = 8 << 20  # memory of a thread for a tile, and its counts or weights
GROUPED_TILE = 1 << 18  # samples of a tile with groups, whose numbers take up to 8 bytes each
GROUP_MEMORY_DIVISOR = 8  # one part in eight of the memory is for the counts of one planner with groups
LARGE_WORKSPACE_BYTES = 16 << 20  # the same with the weights of a job, and the buffers of a decoder or an encoder


def _choose_sizes(
    losses: Source, itemsize: int, budget: Budget, *, lazy: bool, grouped: bool = False, count_bytes: int = 0
) -> Sizes:
    """Return the sizes for losses of `itemsize` bytes.

    `lazy` means that a job takes no memory until it is read. `count_bytes` is the memory of each workspace for the
    counts of groups.
    """
    if lazy:
        job_bytes = LAZY_JOB_BYTES
        workspace_bytes = WORKSPACE_BYTES
    else:
        job_bytes = JOB_BYTES
        workspace_bytes = LARGE_WORKSPACE_BYTES
    max_samples = job_bytes // itemsize
    # The counts of the planner into which those of the workspaces are merged, and of two copies.
    remaining = replace(budget, memory=budget.memory - 3 * count_bytes)
    n_workspaces = remaining.n_workspaces(losses, max_samples, workspace_bytes + count_bytes)
    # Either several jobs run at a time, or one job in several threads.
    threads = budget.threads if n_workspaces == 1 else 1
    tile = TILE_BYTES // itemsize
    return Sizes(max_samples, min(tile, GROUPED_TILE) if grouped else tile, n_workspaces, threads)


def count_losses(losses: Source, rule: Rule, budget: Budget, groups: GroupSource | None = None) -> tuple[Any, int]:
    """Count all losses in as many rounds as the plan takes.

    Returns
    -------
    plan : Plan, or GroupedPlan with groups
    checksum : int
        `Planner.checksum` of the losses.

    Raises
    ------
    RuntimeError
        The losses or groups changed between two rounds.
    """
    # Losses of unknown type may be float64.
    itemsize = 8 if losses.format is None else losses.format.storage.itemsize
    planner, count_bytes = _make_planner(rule, budget, groups)
    sources = [losses] if groups is None else [losses, groups.source]
    lazy = all(source.random_access for source in sources)
    sizes = _choose_sizes(losses, itemsize, budget, lazy=lazy, grouped=groups is not None, count_bytes=count_bytes)

    def process(job: Job, workspace: _CountWorkspace) -> None:
        for first, last in tiles(job, sizes.tile):
            numbers: Any = None
            if groups is not None:
                numbers = np.empty(0, np.int32)
                if job.groups is not None and first < last:
                    numbers = groups.read(job.groups, first, last, workspace.groups)
            workspace.planner.update(job.losses.read(first, last, workspace.memory), groups=numbers, offset=first)

    while not planner.done:
        what = f"round {planner.round}"

        def report(job: Job, _: None, what: str = what) -> None:
            budget.report(job.stop, losses.n, what)

        for source in sources:
            source.check()
        start = {"state": planner.partial()["state"]}
        workspaces = [_make_count_workspace(start, sizes, groups) for _ in range(sizes.n_workspaces)]
        budget.report(0, losses.n, what)
        jobs = iter_jobs(losses, None, sizes.max_samples, losses.n, groups=sources[1] if groups else None)
        map_ordered(jobs, process, report, workspaces)
        for source in sources:
            source.check()
        for workspace in workspaces:
            planner.merge(workspace.planner)
        try:
            planner.advance()
        except ValueError as error:
            if isinstance(error, EmptiedGroupError):
                raise
            if planner.round == 1:
                raise ValueError(f"{error}{_location(losses, planner)}") from error
            raise RuntimeError(f"{losses.name} changed while it was read: {error}") from error
    return planner.plan, planner.checksum


def _make_planner(rule: Rule, budget: Budget, groups: GroupSource | None) -> tuple[Planner, int]:
    """Return the planner of all losses, and the memory of a planner for the counts of groups."""
    if groups is None:
        return Planner.from_rule(rule), 0
    n_groups = groups.n_groups
    rule.check_n_groups(n_groups)
    least = GROUP_MEMORY_DIVISOR * histogram_bytes(rule, n_groups, MIN_BITS)
    if budget.memory < least:
        raise ValueError(f"memory must be at least {least:_} bytes for {n_groups:_} groups, got {budget.memory:_}")
    memory = budget.memory // GROUP_MEMORY_DIVISOR
    count_bytes = histogram_bytes(rule, n_groups, choose_bits(rule, n_groups, memory))
    return Planner.from_rule(rule, n_groups=n_groups, group_memory=memory), count_bytes


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
    groups: Array


def _make_count_workspace(start: dict[str, Array], sizes: Sizes, groups: GroupSource | None) -> _CountWorkspace:
    group_bytes = 0 if groups is None else sizes.tile * GROUP_BYTES
    planner = Planner.from_partial(start, threads=sizes.threads)
    return _CountWorkspace(planner, np.empty(TILE_BYTES, np.uint8), np.empty(group_bytes, np.uint8))


def write_weights(
    plan: Plan | GroupedPlan,
    checksum: int,
    losses: Source,
    weights: Source | None,
    groups: GroupSource | None,
    mu: float,
    sink: Sink,
    budget: Budget,
) -> None:
    """Apply the plan to all losses, write the weights to the sink, and commit it.

    Parameters
    ----------
    plan : Plan or GroupedPlan
    checksum : int
        `Planner.checksum` of the losses that were planned.
    losses : Source
    weights : Source, optional
        The current weights; ones if None.
    groups : GroupSource, optional
        Those of a plan with groups.
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
    group_source = None if groups is None else groups.source
    sources = [source for source in (losses, weights, group_source) if source is not None]
    lazy = all(source.random_access for source in sources) and not sink.needs_order
    itemsize = BY_NAME[plan.dtype].storage.itemsize
    sizes = _choose_sizes(losses, itemsize, budget, lazy=lazy, grouped=groups is not None)
    writer = WeightWriter(plan, losses, weights, groups, mu, sink, sizes)
    workspaces = [writer.make_workspace() for _ in range(sizes.n_workspaces)]

    def write(job: Job, result: JobResult) -> None:
        writer.write(job, result)
        budget.report(job.stop, plan.n, "writing")

    for source in sources:
        source.check()
    budget.report(0, plan.n, "writing")
    jobs = iter_jobs(losses, weights, sizes.max_samples, plan.n, group_source)
    map_ordered(jobs, writer.process, write, workspaces)
    for source in sources:
        source.check()
    if writer.n != plan.n or writer.checksum != checksum:
        raise RuntimeError(f"{losses.name} changed between planning and writing; do not modify them meanwhile")
    if writer.invalid is not None:
        assert weights is not None
        raise_invalid_weights(writer.invalid, plan.n, written=False, name=weights.name)
    sink.commit()
