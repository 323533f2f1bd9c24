"""Dask arrays with groups: as `dask_arrays`, with the groups in the chunks of the losses.

Only `rrm_core.api` imports this module, and only when it is given a Dask array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.delayed import delayed

from ._grouped_engine import prepare_groups
from .arrays.groups import Groups, to_groups, to_host_groups
from .dask_arrays import as_weight_type, merge_tree, prepare
from .definition.formats import BY_NAME, Array
from .definition.group_counting import MIN_BITS, histogram_bytes
from .definition.group_numbers import GroupNumbers
from .definition.group_plan import GroupedPlan
from .definition.rule import Rule
from .planner.planner import Planner

# Bytes for the counts of a round, of which a task that merges holds several.
GROUP_MEMORY = 8 << 20


class DaskGroupedRequest(NamedTuple):
    """The arguments of one call with groups, as `GroupedRequest`.

    Attributes
    ----------
    losses, groups : dask.array.Array
        With the same chunks.
    weights : dask.array.Array or None
        The previous weights, if they are read.
    n_groups : int
    dtype : str
        Type of the losses.
    mu : float
    backend : str or None
    threads : int
    """

    losses: Any
    groups: Any
    weights: Any | None
    n_groups: int
    dtype: str
    mu: float
    backend: str | None
    threads: int

    def plan(self, rule: Rule) -> GroupedPlan:
        """Return the plan, computed now by the current scheduler."""
        memory = max(GROUP_MEMORY, histogram_bytes(rule, self.n_groups, MIN_BITS))
        planner = Planner.from_rule(rule, n_groups=self.n_groups, group_memory=memory)
        offsets = np.cumsum([0, *self.losses.chunks[0][:-1]]).tolist()
        blocks = list(zip(self.losses.to_delayed().tolist(), self.groups.to_delayed().tolist(), offsets, strict=True))
        count = delayed(count_grouped_block)
        while not planner.done:
            # A task of its own, so that the state, which is large for many groups, is sent to each worker only once.
            state = delayed(planner.partial()["state"], traverse=False)
            partials = [count(state, *block, self.backend, self.threads) for block in blocks]
            planner.merge(Planner.from_partial(merge_tree(partials).compute()))
            planner.advance()
        plan: GroupedPlan = planner.plan
        if plan.dtype != self.dtype:
            raise TypeError(
                f"losses are {self.dtype} by their dtype, but their blocks are {plan.dtype}; "
                "give the right dtype where the Dask array is made"
            )
        return plan

    def reweight(self, rule: Rule) -> tuple[Any, GroupedPlan]:
        """Return the new weights, not yet computed, and the plan."""
        plan = self.plan(rule)
        return self.apply(plan), plan

    def apply(self, plan: GroupedPlan) -> Any:
        """Return the new weights as a Dask array, not yet computed; each task checks its own block."""
        if plan.dtype != self.dtype:
            raise TypeError(f"losses must be {plan.dtype}, as the planned ones were, got {self.dtype}")
        if self.losses.shape[0] > plan.n:
            raise ValueError(f"losses have {self.losses.shape[0]:_} samples, but the plan was made for {plan.n:_}")
        return da.map_blocks(
            reweight_grouped_block,
            *(array for array in (self.losses, self.groups, self.weights) if array is not None),
            dtype=BY_NAME[self.dtype].weights,
            meta=as_weight_type(self.losses._meta, BY_NAME[self.dtype]),
            plan=delayed(plan, traverse=False),
            mu=self.mu,
            backend=self.backend,
            threads=self.threads,
        )


def prepare_dask_groups(
    losses: Any,
    weights: Any | None,
    mu: float,
    out: Any | None,
    backend: str | None,
    threads: int | None,
    groups: Any,
    n_groups: int | None,
) -> DaskGroupedRequest:
    """Check the arguments of a call with groups, of which at least one is a Dask array. No block is computed.

    Parameters
    ----------
    losses, weights, out, backend, groups
        As for `rrm_core.reweight`.
    mu, threads
        Likewise, already checked.
    n_groups : int, optional
        Number of groups, if it follows from another argument.

    Raises
    ------
    TypeError, ValueError
        An argument is invalid.
    """
    if not isinstance(losses, da.Array) and weights is None and out is None:
        raise TypeError(
            f"losses must be a Dask array where groups are one, got {type(losses).__name__}; "
            "pass dask.array.from_array(losses), or groups.compute()"
        )
    request = prepare(losses, weights, mu, out, backend, threads)
    _check_known_size("losses", losses, "groups")
    numbers, n_groups = _match_groups(groups, losses, n_groups)
    return DaskGroupedRequest(
        losses, numbers, request.old_weights, n_groups, request.format.name, mu, backend, threads or 1
    )


def _match_groups(groups: Any, losses: Any, n_groups: int | None) -> tuple[Any, int]:
    """Return the numbers of groups as a Dask array with the chunks of the losses, and the number of groups."""
    numbers = groups.numbers if isinstance(groups, Groups) else groups
    if not isinstance(numbers, da.Array):
        prepared = to_groups(groups, losses.shape[0], n_groups)
        return da.from_array(np.asarray(prepared.numbers), chunks=losses.chunks), prepared.n_groups
    if isinstance(groups, Groups):
        n_groups = groups.n_groups
    if n_groups is None:
        raise ValueError(
            "the number of groups is required where groups are a Dask array; pass rrm_core.Groups(groups, n_groups), "
            "or a contamination or cap with one value per group"
        )
    if numbers.dtype.kind not in "iu":
        raise TypeError(f"groups must be integers, got {numbers.dtype}; number the groups 0, 1, 2, ...")
    if numbers.ndim == 1:
        _check_known_size("groups", numbers, "losses")
    if numbers.shape != losses.shape:
        raise ValueError(
            f"groups must have one entry per loss, got shape {numbers.shape} for {losses.shape[0]:_} losses"
        )
    return numbers.rechunk(losses.chunks), n_groups


def _check_known_size(name: str, x: Any, other: str) -> None:
    if np.isnan(x.shape[0]):
        raise ValueError(
            f"{name} have chunks of unknown size, which can't be matched with those of {other}; call "
            f"{name}.compute_chunk_sizes() first"
        )


def count_grouped_block(
    state: Array, block: Any, groups: Any, offset: int, backend: str | None, threads: int
) -> dict[str, Array]:
    """Count a block in one round, and return the partial result; for the parameters see `count_block`."""
    planner = Planner.from_partial({"state": state}, backend=backend, threads=threads)
    assert planner.n_groups is not None
    numbers = to_host_groups("groups", groups, block.shape[0], planner.n_groups, start=offset)
    planner.update(block, groups=GroupNumbers(numbers, planner.n_groups), offset=offset)
    return planner.partial()


def reweight_grouped_block(
    block: Any,
    groups: Any,
    weights: Any | None = None,
    *,
    plan: GroupedPlan,
    mu: float,
    backend: str | None,
    threads: int,
    block_info: Any = None,
) -> Any:
    """Return the new weights of a block of losses. Dask provides `block_info`; for the rest see `rrm_core.apply`."""
    if block.shape[0] == 0:
        return as_weight_type(block, BY_NAME[plan.dtype])
    start = None if block_info is None else block_info[0]["array-location"][0][0]
    request = prepare_groups(block, weights, mu, None, backend, threads, groups, plan.n_groups, start)
    return request.apply(plan, start)
