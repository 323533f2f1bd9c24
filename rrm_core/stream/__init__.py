"""Plan and reweight losses that do not fit in memory, in passes over a file or over chunks.

The weights and the plan are those of `rrm_core.reweight`, bit for bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, overload

from .._arguments import check_mu
from ..arrays.groups import Groups, check_n_groups
from ..definition.formats import BY_NAME
from ..definition.group_plan import GroupedPlan
from ..definition.plan import Plan
from ..definition.rule import Mass, NaN, Redistribute, Rule, Ties, make_grouped_rule, make_rule
from .budget import Progress, make_budget
from .factory import open_groups, open_source, sink_factory
from .group_source import GroupSource
from .pipeline import count_losses, write_weights
from .source import Source
from .weight_writer import check_weights_match

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["plan", "reweight"]

Stream: TypeAlias = "str | os.PathLike[str] | Iterable[Any] | Any"
SOURCE_MEMORY_DIVISOR = 4  # one part in four of the memory is for what a source decodes


class _PlanOptions(TypedDict, total=False):
    gamma: float | None
    redistribute: Redistribute
    ties: Ties
    nan: NaN
    column: str | None
    memory: int
    threads: int | None
    progress: Progress | None


class _ReweightOptions(_PlanOptions, total=False):
    weights: Stream | None
    mu: float


@overload
def plan(
    losses: Stream, *, contamination: float | None = None, groups: None = None, **options: Unpack[_PlanOptions]
) -> Plan: ...
@overload
def plan(
    losses: Stream,
    *,
    contamination: Any | None = None,
    groups: Stream,
    n_groups: int | None = None,
    cap: Any | None = None,
    mass: Mass = "all",
    **options: Unpack[_PlanOptions],
) -> GroupedPlan: ...
def plan(
    losses: Stream,
    *,
    contamination: Any | None = None,
    gamma: float | None = None,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    groups: Stream | None = None,
    n_groups: int | None = None,
    cap: Any | None = None,
    mass: Mass = "all",
    column: str | None = None,
    memory: int = 64 << 20,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plan | GroupedPlan:
    """Return the plan of losses that are read in chunks: that of `rrm_core.plan`, bit for bit.

    float16 losses are read once, float32 twice, float64 two to four times; with groups, more often, see `Planner`.

    Parameters
    ----------
    losses : path, list of paths, array, or chunks
        A ``.npy`` file of float16, float32 or float64; a Parquet (``.parquet``) or Arrow (``.arrow``, ``.feather``, in
        the file or the streaming format) file, in which a null counts as NaN, as in pandas; an array or a `np.memmap`;
        or arrays in order, from an iterable that can be iterated repeatedly: a list of arrays, or an object whose
        ``__iter__`` starts over. A chunk may reuse the memory of the previous one. Files are read, not memory-mapped.
        Several files of one kind and type are one source: a list of paths, in its order; or a folder, in the natural
        order of the names (part-2 before part-10), without hidden files and those that begin with an underscore.
    contamination, gamma, redistribute, ties, nan, cap, mass
        The rule, as for `rrm_core.reweight`.
    groups : str, path, list of paths, array, Groups, or chunks, optional
        The group of each sample, an integer from 0 to ``n_groups - 1``: the name of a column in the files of the losses
        (a string without the suffix of a file), or a source in the order of the losses, but possibly in other chunks,
        like `losses`, with integers; of a Parquet or Arrow file, the only column of integers. A null is an error.
    n_groups : int, at least 1, optional
        Number of groups; by default the number of shares in `contamination` or `cap`, or that of a `Groups`. Otherwise
        required with `groups`.
    column : str, optional
        Column of the losses in a Parquet or Arrow file; by default the only floating-point column.
    memory : int, default 64 MiB
        Bytes that the passes may use, at least 16 MiB, for any number of samples. The caller's own data, pyarrow's code
        and its description of a file come on top. Each thread takes 8 to 16 MiB. With groups, at least 3 KiB for each
        group; an eighth is for histograms, which decides how often the losses are read.
    threads : int, at least 1, optional
        Number of threads that read and count; by default as for `rrm_core.reweight`.
    progress : callable, optional
        ``progress(done, total, what)`` is called often during a pass, with the number of samples processed, their total
        (None if not yet known), and the name of the pass: ``"round 1"``, ``"round 2"``, ... or ``"writing"``. An
        exception that it raises ends the call.

    Returns
    -------
    Plan, or GroupedPlan with `groups`
        Threshold, counts and levels.

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.reweight`; or a file is not of the kind its suffix says, is truncated, or lacks the column.
    OSError
        A file cannot be opened or read.
    RuntimeError
        The losses or groups changed between two passes or during one.
    ImportError
        pyarrow is missing.

    Examples
    --------
    >>> import numpy as np, rrm_core
    >>> chunks = [np.array([0.1, 0.3, 0.2]), np.array([4.0, 0.4])]
    >>> rrm_core.stream.plan(chunks, contamination=0.2).threshold
    0.4
    """
    make = make_rule if groups is None else make_grouped_rule
    rule = make(contamination, gamma, redistribute, ties, nan, cap, mass)
    budget = make_budget(memory, threads, progress)
    source_memory = budget.memory // SOURCE_MEMORY_DIVISOR
    with ExitStack() as stack:
        loss_source = open_source("losses", losses, column, source_memory)
        stack.callback(loss_source.close)
        group_source = _open_groups(stack, groups, n_groups, rule, losses, loss_source, source_memory)
        plan, _ = count_losses(loss_source, rule, budget, group_source)
    return plan


@overload
def reweight(
    losses: Stream,
    out: str | os.PathLike[str] | Callable[[Any], Any],
    *,
    contamination: float | None = None,
    groups: None = None,
    **options: Unpack[_ReweightOptions],
) -> Plan: ...
@overload
def reweight(
    losses: Stream,
    out: str | os.PathLike[str] | Callable[[Any], Any],
    *,
    contamination: Any | None = None,
    groups: Stream,
    n_groups: int | None = None,
    cap: Any | None = None,
    mass: Mass = "all",
    **options: Unpack[_ReweightOptions],
) -> GroupedPlan: ...
def reweight(
    losses: Stream,
    out: str | os.PathLike[str] | Callable[[Any], Any],
    *,
    weights: Stream | None = None,
    mu: float = 1.0,
    contamination: Any | None = None,
    gamma: float | None = None,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    groups: Stream | None = None,
    n_groups: int | None = None,
    cap: Any | None = None,
    mass: Mass = "all",
    column: str | None = None,
    memory: int = 64 << 20,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Plan | GroupedPlan:
    """Write the sample weights of losses that are read in chunks: those of `rrm_core.reweight`, bit for bit.

    The losses are read once more than by `plan`.

    Parameters
    ----------
    losses, contamination, gamma, redistribute, ties, nan, groups, n_groups, cap, mass, column, memory, threads
        See `plan`.
    progress
        See `plan`.
    out : path or callable
        A ``.npy``, ``.parquet``, ``.arrow`` or ``.feather`` file, the last three with one column ``sample_weight``. It
        appears only once it is complete: a temporary file beside it is written first. It may be a symbolic link, which
        is followed, or the file of `weights`, which it then replaces, but neither a file of the losses or groups nor
        one of several files of weights. Or a function, which
        is called in the calling thread with one array of new weights after the other, in order; it may keep the arrays.
        If the losses come in chunks, the arrays have the sizes of the chunks.
    weights : path, list of paths, array, or chunks, optional
        The current weights, finite and at least 0, as for `rrm_core.reweight`, in the order of the losses, but possibly
        in other chunks; ones if None. Read once, and only if ``mu < 1``. In a Parquet or Arrow file, the column
        ``sample_weight`` or the only floating-point column.
    mu : float in (0, 1], default 1
        Step from the current weights to their targets: ``(1 - mu) * weights + mu * target``.

    Returns
    -------
    Plan, or GroupedPlan with `groups`
        Threshold, counts and levels.

    Raises
    ------
    TypeError, ValueError, OSError, RuntimeError, ImportError
        As `plan`; also if the weights do not match the losses or are invalid, or `out` cannot be written, for example
        because the disk is full or the folder does not exist. A file is then unchanged; a function may have been called
        for some of the weights, but not for those that follow from invalid ones.

    Examples
    --------
    >>> import numpy as np, rrm_core
    >>> chunks, weights = [np.array([0.1, 0.3, 0.2]), np.array([4.0, 0.4])], []
    >>> plan = rrm_core.stream.reweight(chunks, weights.append, contamination=0.2)
    >>> weights
    [array([2., 1., 1.]), array([0., 1.])]
    """
    make = make_rule if groups is None else make_grouped_rule
    rule = make(contamination, gamma, redistribute, ties, nan, cap, mass)
    budget = make_budget(memory, threads, progress)
    source_memory = budget.memory // SOURCE_MEMORY_DIVISOR
    step = check_mu(mu)
    with ExitStack() as stack:
        open_sink = sink_factory(out, losses, weights, groups, few_values=step == 1)
        loss_source = open_source("losses", losses, column, source_memory)
        stack.callback(loss_source.close)
        weight_source = None
        if weights is not None:
            weight_source = open_source("weights", weights, None, source_memory)
            stack.callback(weight_source.close)
        check_weights_match(weight_source, loss_source.n, loss_source.format)
        group_source = _open_groups(stack, groups, n_groups, rule, losses, loss_source, source_memory)
        plan, checksum = count_losses(loss_source, rule, budget, group_source)
        format = BY_NAME[plan.dtype]
        check_weights_match(weight_source, plan.n, format)
        with open_sink(plan.n, format.weights) as sink:
            weights_to_read = weight_source if step < 1 else None
            write_weights(plan, checksum, loss_source, weights_to_read, group_source, step, sink, budget)
    return plan


def _open_groups(
    stack: ExitStack,
    groups: Any,
    n_groups: int | None,
    rule: Rule,
    losses: Any,
    loss_source: Source,
    memory: int,
) -> GroupSource | None:
    """Return the source of the groups, which the stack will close, if there are groups."""
    if groups is None:
        if n_groups is not None:
            raise ValueError(f"n_groups needs groups, got n_groups={n_groups}; pass the group of each loss as groups")
        return None
    if n_groups is None:
        n_groups = rule.n_groups
    if n_groups is None and isinstance(groups, Groups):
        n_groups = groups.n_groups
    if n_groups is None:
        raise ValueError(
            "n_groups is required where groups are read in parts, unless contamination or cap has one value per group"
        )
    n_groups = check_n_groups(n_groups)
    rule.check_n_groups(n_groups)
    source = open_groups(groups, losses, memory)
    stack.callback(source.close)
    group_source = GroupSource(source, n_groups)
    group_source.check_length(loss_source.n)
    return group_source
