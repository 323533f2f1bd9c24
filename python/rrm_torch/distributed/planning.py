"""`rrm_core.plan` and `rrm_core.reweight` for losses that are distributed over ranks."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

import rrm_core
from rrm_core import GroupedPlan, Plan
from rrm_core._arguments import check_mu

from .process_group import ProcessGroup, first_mismatch, stable_hash

NO_INDEX = np.iinfo(np.int64).max  # stands for "no such loss" among the minima of a partial result


@overload
def plan(
    losses: Any, *, groups: None = None, group: dist.ProcessGroup | ProcessGroup | None = None, **rule: Any
) -> Plan: ...
@overload
def plan(
    losses: Any,
    *,
    groups: Any,
    n_groups: int | None = None,
    group: dist.ProcessGroup | ProcessGroup | None = None,
    **rule: Any,
) -> GroupedPlan: ...
def plan(
    losses: Any,
    *,
    groups: Any | None = None,
    n_groups: int | None = None,
    group: dist.ProcessGroup | ProcessGroup | None = None,
    **rule: Any,
) -> Plan | GroupedPlan:
    """Return the plan of the losses of all ranks, bit for bit that of `rrm_core.plan` for all losses in one array.

    Collective: every rank of the group calls it, with the same rule and losses of the same type, and gets the same
    plan. Ranks exchange the partial results of `rrm_core.Planner`, whose size does not depend on the number of losses.

    Parameters
    ----------
    losses : Tensor or array of shape (m,)
        The losses of this rank; m may differ between ranks, and be 0. Losses on a GPU are copied to the host.
    groups : Tensor or array of integers, shape (m,), or Groups, optional
        The group of each of them, from 0 to ``n_groups - 1``; on all ranks or on none.
    n_groups : int, at least 1, optional
        Number of groups, the same on every rank; by default the number of shares in `contamination` or `cap`, or that
        of a `Groups`.
    group : torch.distributed.ProcessGroup or rrm_torch.distributed.ProcessGroup, optional
        By default all ranks.
    **rule
        `contamination`, `gamma`, `redistribute`, `ties`, `nan`, `cap` and `mass`, as for `rrm_core.plan`.

    Returns
    -------
    Plan, or GroupedPlan with `groups`

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.plan`, and the same on every rank. The message names the rank, and the index among its losses.
    RuntimeError
        torch.distributed is not initialised, or a rank has ended.

    Notes
    -----
    Each rank sends 512 bytes at first, then 524,392 bytes in the first round (65,536 counts), and in each later round
    the same, twice that if `redistribute` is a fraction, or less than 1 MiB of the keys that remain. With groups, a
    round sends at most 64 MiB of counts, or 128 bytes for each group; see `group_memory` of `rrm_core.Planner`.

    See Also
    --------
    reweight : also returns the weights.
    """
    return plan_on_ranks(losses, as_ranks(group), rule, groups, n_groups)


def plan_on_ranks(
    losses: Any,
    ranks: ProcessGroup,
    rule: rrm_core.Rule | dict[str, Any],
    groups: Any | None = None,
    n_groups: int | None = None,
) -> Plan | GroupedPlan:
    """Return what `plan` returns, by a rule or its keyword arguments."""
    planner, offsets = _count_losses(losses, ranks, rule, groups, n_groups)
    while True:
        combined = _all_reduce_partial(planner, ranks, int(offsets[ranks.rank]))
        planner = rrm_core.Planner.from_partial(combined)
        try:
            planner.advance()
        except ValueError as error:  # the same on all ranks
            first_nan, first_neginf = combined["minima"][1:3]
            nan_is_refused = planner.rule.nan == "raise" and first_nan != NO_INDEX
            index = first_nan if nan_is_refused else first_neginf
            raise ValueError(f"{error}{_location(int(index), offsets)}") from None
        if planner.done:
            new_plan: Plan | GroupedPlan = planner.plan
            return new_plan
        planner.update(losses, groups=groups)


@overload
def reweight(
    losses: Tensor,
    weights: Tensor | None = None,
    *,
    mu: float = 1.0,
    groups: None = None,
    group: dist.ProcessGroup | ProcessGroup | None = None,
    **rule: Any,
) -> tuple[Tensor, Plan]: ...
@overload
def reweight(
    losses: Tensor,
    weights: Tensor | None = None,
    *,
    mu: float = 1.0,
    groups: Any,
    n_groups: int | None = None,
    group: dist.ProcessGroup | ProcessGroup | None = None,
    **rule: Any,
) -> tuple[Tensor, GroupedPlan]: ...
def reweight(
    losses: Tensor,
    weights: Tensor | None = None,
    *,
    mu: float = 1.0,
    groups: Any | None = None,
    n_groups: int | None = None,
    group: dist.ProcessGroup | ProcessGroup | None = None,
    **rule: Any,
) -> tuple[Tensor, Plan | GroupedPlan]:
    """Return the new weights of this rank's samples and the plan of all ranks: `rrm_core.reweight` over ranks.

    Parameters
    ----------
    losses : Tensor of shape (m,)
        The losses of this rank; m may differ between ranks, and be 0.
    weights : Tensor of shape (m,), optional
        Their current weights; ones if None. Read only if ``mu < 1``.
    mu, groups, n_groups, group, **rule
        As for `rrm_core.reweight` and `plan`; the same on every rank.

    Returns
    -------
    weights : Tensor of shape (m,)
        On the device of `losses`.
    plan : Plan, or GroupedPlan with `groups`
        The same on every rank.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `plan` and `rrm_core.reweight`, the same on every rank.

    Notes
    -----
    Each rank sends the bytes of `plan`, and 512 more.
    """
    return reweight_on_ranks(losses, weights, mu, as_ranks(group), rule, groups, n_groups)


def reweight_on_ranks(
    losses: Tensor,
    weights: Tensor | None,
    mu: float,
    ranks: ProcessGroup,
    rule: rrm_core.Rule | dict[str, Any],
    groups: Any | None = None,
    n_groups: int | None = None,
) -> tuple[Tensor, Plan | GroupedPlan]:
    """Return what `reweight` returns, by a rule or its keyword arguments."""
    new_plan = plan_on_ranks(losses, ranks, rule, groups, n_groups)
    step = 0.0
    error: Exception | None = None
    dtype = torch.float64 if losses.dtype == torch.float64 else torch.float32
    new_weights = torch.ones(0, dtype=dtype, device=losses.device)
    try:
        step = check_mu(mu)
        if len(losses):
            new_weights = rrm_core.apply(new_plan, losses, weights, groups=groups, mu=mu)
    except Exception as failure:  # any error: the other ranks must not continue without this one
        error = failure
    steps = [row[0] for row in ranks.sync_or_raise(error, stable_hash(step))]
    rank = first_mismatch(steps)
    if rank is not None:
        raise ValueError(f"rank {rank} has another mu than rank 0; give the same on all ranks")
    return new_weights, new_plan


def as_ranks(group: dist.ProcessGroup | ProcessGroup | None) -> ProcessGroup:
    """Return a group of torch.distributed, all ranks for None, with the collectives used here."""
    return group if isinstance(group, ProcessGroup) else ProcessGroup(group)


def _count_losses(
    losses: Any, ranks: ProcessGroup, rule: rrm_core.Rule | dict[str, Any], groups: Any | None, n_groups: int | None
) -> tuple[rrm_core.Planner[Any], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return a planner that has counted the losses of this rank, and the index at which each rank's losses start."""
    planner: rrm_core.Planner[Any] | None = None
    error: Exception | None = None
    numbers = (0, 0, 0)
    try:
        if n_groups is None and isinstance(groups, rrm_core.Groups):
            n_groups = groups.n_groups
        if isinstance(rule, dict):
            rule = rrm_core.Rule(**rule)
        planner = rrm_core.Planner.from_rule(rule, n_groups=n_groups)
        if groups is not None and planner.n_groups is None:
            raise ValueError(
                "n_groups is required with groups, unless contamination or cap has one value per group; give the same "
                "on all ranks"
            )
        planner.update(losses, groups=groups, offset=0)
        numbers = (planner.n, stable_hash(planner.rule), planner.n_groups or 0)
    except Exception as failure:  # any error: the other ranks must not wait for this one
        error = failure
    rows = ranks.sync_or_raise(error, *numbers)
    assert planner is not None
    for name, column in (("rule", 1), ("number of groups", 2)):
        rank = first_mismatch([row[column] for row in rows])
        if rank is not None:
            raise ValueError(f"rank {rank} has another {name} than rank 0; give the same on all ranks")
    return planner, np.cumsum([0, *(row[0] for row in rows)])


def _all_reduce_partial(planner: rrm_core.Planner[Any], ranks: ProcessGroup, offset: int) -> dict[str, Any]:
    """Return the partial results of all ranks combined; `offset` is the global index of this rank's first loss."""
    partial = planner.partial()
    minima = partial["minima"]
    keys = partial["keys"]
    indices = minima[1:3]
    indices[indices != NO_INDEX] += offset
    combined = partial | {
        "sums": ranks.all_reduce_sum(torch.from_numpy(partial["sums"])).numpy(),
        "minima": ranks.all_reduce_min(torch.from_numpy(minima)).numpy(),
    }
    # With groups, no keys are collected.
    if planner.round > 1 and planner.n_groups is None:
        counts = ranks.all_gather(torch.tensor([len(keys)], device="cpu"))[:, 0].tolist()
        start = sum(counts[: ranks.rank])
        # The sum over ranks concatenates the keys: each rank's array is zero outside its own part.
        padded = torch.zeros(sum(counts), dtype=torch.int64, device="cpu")
        padded[start : start + len(keys)] = torch.from_numpy(keys)
        combined["keys"] = ranks.all_reduce_sum(padded).numpy()
    return combined


def _location(index: int, offsets: Any) -> str:
    """Return the rank that holds the loss with a global index, and the index there, as the end of a message."""
    if index == NO_INDEX:
        return ""
    rank = int(np.searchsorted(offsets, index, side="right")) - 1
    return f" (index {index} is on rank {rank}, its own index {index - int(offsets[rank])})"
