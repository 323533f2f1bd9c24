"""Passes over a source: counting rounds until the plan is complete, and one pass that writes the weights.

A pass splits the source into jobs, which threads process in tiles that fit in the processor's cache.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..definition.counting import MISSING
from ..definition.formats import BY_NAME, Array
from ..definition.group_plan import GroupedPlan
from ..definition.group_thresholds import EmptiedGroupError
from ..definition.old_weights import raise_invalid_weights
from ..definition.plan import Plan
from ..definition.rule import Rule
from ..planner.planner import Planner
from .budget import Budget, Sizes
from .group_memory import PLAN_BYTES, GroupMemory, divide_memory
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
LARGE_WORKSPACE_BYTES = 16 << 20  # the same with the weights of a job, and the buffers of a decoder or an encoder


def _choose_sizes(
    losses: Source, itemsize: int, budget: Budget, *, lazy: bool, groups: GroupMemory | None = None
) -> Sizes:
    """Return the sizes for losses of `itemsize` bytes.

    `lazy` means that a job takes no memory until it is read.
    """
    if lazy:
        job_bytes = LAZY_JOB_BYTES
        workspace_bytes = WORKSPACE_BYTES
    else:
        job_bytes = JOB_BYTES
        workspace_bytes = LARGE_WORKSPACE_BYTES
    max_samples = job_bytes // itemsize
    tile = TILE_BYTES // itemsize
    if groups is not None:
        tile = min(tile, GROUPED_TILE)
        workspace_bytes += groups.workspace
        budget = replace(budget, memory=budget.memory - groups.shared)
    n_workspaces = budget.n_workspaces(losses, max_samples, workspace_bytes)
    # Either several jobs run at a time, or one job in several threads.
    threads = budget.threads if n_workspaces == 1 else 1
    return Sizes(max_samples, tile, n_workspaces, threads)


def count_losses(
    losses: Source, rule: Rule, budget: Budget, groups: GroupSource | None = None
) -> tuple[Plan | GroupedPlan, int]:
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
    group_memory = None
    if groups is None:
        planner = Planner.from_rule(rule)
    else:
        group_memory = divide_memory(rule, groups.n_groups, budget.memory)
        planner = Planner.from_rule(rule, n_groups=groups.n_groups, group_memory=group_memory.histograms)
    sources = [losses] if groups is None else [losses, groups.source]
    lazy = all(source.random_access for source in sources)
    sizes = _choose_sizes(losses, itemsize, budget, lazy=lazy, groups=group_memory)

    def count(job: Job, workspace: _CountWorkspace) -> None:
        for first, last in tiles(job, sizes.tile):
            workspace.planner.update(job.losses.read(first, last, workspace.memory), offset=first)

    def count_groups(job: Job, workspace: _CountWorkspace) -> None:
        assert groups is not None
        for first, last in tiles(job, sizes.tile):
            numbers: Any = []
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
        map_ordered(jobs, count if groups is None else count_groups, report, workspaces)
        for source in sources:
            source.check()
        while workspaces:
            # Freed before the next one is merged.
            planner.merge(workspaces.pop().planner)
        try:
            planner.advance()
        except ValueError as error:
            if isinstance(error, EmptiedGroupError):
                raise
            if planner.round == 1:
                raise ValueError(f"{error}{_location(losses, planner)}") from error
            names = " or ".join(source.name for source in sources)
            raise RuntimeError(f"{names} changed while it was read: {error}") from error
    return planner.plan, planner.checksum


def _location(losses: Source, planner: Planner[Any]) -> str:
    """Return where the first NaN or -inf lies, for the end of a message, if the losses come in several files."""
    _, first_nan, first_neg_inf = planner.partial()["minima"].tolist()[:3]
    index = first_nan if planner.rule.nan == "raise" and first_nan != MISSING else first_neg_inf
    if index == MISSING or not isinstance(losses, Parts):
        return ""
    return f"; it is {losses.locate(index)}"


class _CountWorkspace(NamedTuple):
    planner: Planner[Any]
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
    group_memory = None if groups is None else GroupMemory(0, 0, PLAN_BYTES * groups.n_groups)
    sizes = _choose_sizes(losses, itemsize, budget, lazy=lazy, groups=group_memory)
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
        names = losses.name if group_source is None else f"{losses.name} or {group_source.name}"
        raise RuntimeError(f"{names} changed between planning and writing; do not modify them meanwhile")
    if writer.invalid is not None:
        assert weights is not None
        raise_invalid_weights(writer.invalid, plan.n, written=False, name=weights.name)
    sink.commit()
