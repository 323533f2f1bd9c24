"""The plan of losses that are spread over ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

import rrm_core

from .process_group import Ranks, hashed, unlike_the_first

NOWHERE = np.iinfo(np.int64).max  # an index in Planner's partial results, where there is none


def plan(losses: Any, *, group: ProcessGroup | Ranks | None = None, **rule: Any) -> rrm_core.Plan:
    """Return the plan of the losses of all ranks: that of `rrm_core.plan` for all in one place, to the bit.

    Every rank of the group calls this, with the same rule and losses of the same type, and gets the same plan. What
    travels are `rrm_core.Planner`'s partial results, whose size doesn't depend on the number of losses.

    Parameters
    ----------
    losses : Tensor or array of shape (m,)
        Those of this rank; m may differ from rank to rank, and be 0. On a GPU they are copied to the host.
    group : ProcessGroup, optional
        By default all ranks.
    **rule
        `contamination`, `gamma`, `redistribute`, `ties` and `nan`, as for `rrm_core.plan`.

    Returns
    -------
    Plan

    Raises
    ------
    TypeError, ValueError
        As `rrm_core.plan`, and the same on every rank. The message names the rank, and the index among its losses.
    RuntimeError
        There are no ranks, or one has ended.

    Notes
    -----
    Bytes given by each rank: 512 to begin with, then 524,392 in the first round (65,536 counts), and in each later one
    as much, twice that where recipients are a fraction, or less than 1 MiB of the keys that remain.

    See Also
    --------
    reweight : also returns the weights.
    """
    ranks = group if isinstance(group, Ranks) else Ranks(group)
    planner, error = None, None
    try:
        planner = rrm_core.Planner(**rule)
        planner.update(losses, offset=0)
    except Exception as mistake:  # whatever it is, the others shall not wait for this rank
        error = mistake
    rows = ranks.roll_call(error, *((planner.n, hashed(planner.rule)) if planner is not None else (0, 0)))
    assert planner is not None
    lengths, rules = zip(*rows, strict=True)
    if other := unlike_the_first(rules):
        raise ValueError(f"rank {other} has another rule than rank 0; give the same on all ranks")
    offsets = np.cumsum([0, *lengths])
    while True:
        combined = _combined(planner, ranks, int(offsets[ranks.rank]))
        planner = rrm_core.Planner.from_partial(combined)
        try:
            planner.advance()
        except ValueError as mistake:  # the same on all ranks
            first_nan, first_low = combined["minima"][1:3]
            index = first_nan if planner.rule.nan == "raise" and first_nan != NOWHERE else first_low
            raise ValueError(f"{mistake}{_whose(int(index), offsets)}") from None
        if planner.done:
            return planner.plan
        planner.update(losses)


def reweight(
    losses: Tensor,
    weights: Tensor | None = None,
    *,
    mu: float = 1.0,
    group: ProcessGroup | Ranks | None = None,
    **rule: Any,
) -> tuple[Tensor, rrm_core.Plan]:
    """Return the new weights of this rank's samples, and the plan of all ranks: `rrm_core.reweight` over ranks.

    Parameters
    ----------
    losses : Tensor of shape (m,)
        Those of this rank; m may differ from rank to rank, and be 0.
    weights : Tensor of shape (m,), optional
        Their current weights; ones if None. Read only if ``mu < 1``.
    mu, group, **rule
        As for `rrm_core.reweight` and `plan`; the same on every rank.

    Returns
    -------
    weights : Tensor of shape (m,)
        On the device of `losses`.
    plan : Plan
        The same on every rank.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As `plan` and `rrm_core.reweight`, the same on every rank.

    Notes
    -----
    Each rank gives what it gives to `plan`, and 512 bytes more.
    """
    ranks = group if isinstance(group, Ranks) else Ranks(group)
    found, step, error = plan(losses, group=ranks, **rule), 0.0, None
    kind = torch.float64 if losses.dtype == torch.float64 else torch.float32
    new = torch.ones(0, dtype=kind, device=losses.device)
    try:
        if len(losses):
            new = rrm_core.apply(found, losses, weights, mu=mu)
        else:
            rrm_core.reweight([0.0], gamma=0, mu=mu)  # which refuses a wrong mu here, too
        step = float(mu)
    except Exception as mistake:  # of the weights or mu; the others shall not go on
        error = mistake
    steps = [row[0] for row in ranks.roll_call(error, hashed(step))]
    if other := unlike_the_first(steps):
        raise ValueError(f"rank {other} has another mu than rank 0; give the same on all ranks")
    return new, found


def _combined(planner: rrm_core.Planner, ranks: Ranks, offset: int) -> dict[str, Any]:
    """Return what the partial results of all ranks amount to. Indices in this one's count from `offset` on."""
    partial = planner.partial()
    minima, keys = partial["minima"], partial["keys"]
    indices = minima[1:3]
    indices[indices != NOWHERE] += offset
    combined = partial | {
        "sums": ranks.sum(torch.from_numpy(partial["sums"])).numpy(),
        "minima": ranks.minimum(torch.from_numpy(minima)).numpy(),
    }
    if planner.round > 1:
        counts = ranks.gather(torch.tensor([len(keys)]))[:, 0].tolist()
        begin = sum(counts[: ranks.rank])
        placed = torch.zeros(sum(counts), dtype=torch.int64)  # each rank's own among zeros
        placed[begin : begin + len(keys)] = torch.from_numpy(keys)
        combined["keys"] = ranks.sum(placed).numpy()
    return combined


def _whose(index: int, offsets: Any) -> str:
    """Say on which rank a loss is, and where there."""
    if index == NOWHERE:
        return ""
    rank = int(np.searchsorted(offsets, index, side="right")) - 1
    return f" (index {index} is on rank {rank}, its own index {index - int(offsets[rank])})"
