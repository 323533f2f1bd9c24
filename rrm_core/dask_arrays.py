"""Dask arrays: each block is counted and reweighted where it lies; only counts and plans are communicated.

Only `rrm_core.api` imports this module, and only when it is given a Dask array, so that rrm_core never loads Dask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from array_api_compat import array_namespace, is_array_api_obj
from dask.base import compute
from dask.delayed import delayed

from ._engine import Request, prepare_fast
from ._engine import prepare as prepare_block
from .arrays.checks import check_weights_match
from .arrays.convert import to_argument
from .arrays.placement import Argument, Placement
from .backends.registry import candidates_for, check_can_count, check_can_serve
from .definition.formats import BY_NAME, Array, Format
from .definition.plan import Plan
from .definition.rule import Rule
from .planner.planner import Planner

# Partial results that one task merges. It holds all of them in memory, of 512 KiB each.
FAN_IN = 8

_PLACEMENT = Placement("dask", "cpu", on_host=False)


def prepare(
    losses: Any, weights: Any | None, mu: float, out: Any | None, backend: str | None, threads: int | None
) -> Request:
    """Check the arguments of a call, of which at least one is a Dask array. Nothing is computed.

    Parameters
    ----------
    losses, weights, out, backend
        As for `rrm_core.reweight`.
    mu, threads
        Likewise, already checked.

    Raises
    ------
    TypeError, ValueError
        An argument is invalid.
    """
    if out is not None:
        raise ValueError(
            "out can't be given with Dask arrays, which are computed lazily; leave it out to get a new array"
        )
    if not isinstance(losses, da.Array):
        raise TypeError(
            f"losses must be a Dask array where weights are one, got {type(losses).__name__}; "
            "pass dask.array.from_array(losses), or weights.compute()"
        )
    loss_argument = _describe_blocks("losses", losses)
    if weights is not None:
        weights = _match_chunks(weights, losses, loss_argument)
    if backend is not None:
        placement = loss_argument.placement
        check_can_count(backend)
        check_can_serve(backend, candidates_for(on_host=placement.on_host, on_cuda=placement.on_cuda))
    format = loss_argument.format
    old_weights = weights if mu < 1 else None
    return Request(losses, old_weights, mu, None, None, _PLACEMENT, format, Blocks(format, backend), threads)


def _match_chunks(weights: Any, losses: Any, loss_argument: Argument) -> Any:
    """Return the weights in the chunks of the losses.

    Raises
    ------
    TypeError, ValueError
        The weights are not a Dask array, do not match the losses, or chunk sizes are unknown.
    """
    if not isinstance(weights, da.Array):
        raise TypeError(
            f"weights must be a Dask array where losses are one, got {type(weights).__name__}; "
            "pass dask.array.from_array(weights)"
        )
    weight_argument = _describe_blocks("weights", weights)
    for name, other, x in (("losses", "weights", losses), ("weights", "losses", weights)):
        if np.isnan(x.shape[0]):
            raise ValueError(
                f"{name} have chunks of unknown size, which can't be matched with those of {other}; "
                f"call {name}.compute_chunk_sizes() first"
            )
    check_weights_match(weight_argument._replace(n=weights.shape[0]), loss_argument._replace(n=losses.shape[0]))
    return weights.rechunk(losses.chunks)


class Blocks:
    """A backend for Dask arrays: its tasks call another backend, block by block. See `registry.Backend`.

    Parameters
    ----------
    format : Format
        Type of the losses.
    backend : {"cpp", "numpy"}, optional
        Backend of the tasks; by default the first available one where a task runs.
    """

    def __init__(self, format: Format, backend: str | None) -> None:
        self._format = format
        self._backend = backend

    def check_available(self) -> None:
        """Do nothing: a Dask array exists, so that Dask is installed."""

    def plan(self, losses: Any, rule: Rule, threads: int | None) -> Plan:
        """Return the plan, computed now by the current scheduler in as many rounds as the type of the losses takes."""
        blocks = losses.to_delayed().tolist()
        if np.isnan(losses.shape[0]):
            plan = self._plan_unknown_sizes(blocks, rule, threads)
        else:
            plan = self._plan(blocks, losses.chunks[0], rule, threads)
        if plan.dtype != self._format.name:
            raise TypeError(
                f"losses are {self._format.name} by their dtype, but their blocks are {plan.dtype}; "
                "give the right dtype where the Dask array is made"
            )
        return plan

    def _plan_unknown_sizes(self, blocks: Sequence[Any], rule: Rule, threads: int | None) -> Plan:
        try:
            return self._plan(blocks, [0] * len(blocks), rule, threads)
        except ValueError:
            # The index of a NaN requires the sizes of all blocks, and so another read of the losses.
            return self._plan(blocks, compute(*map(delayed(len), blocks)), rule, threads)

    def _plan(self, blocks: Sequence[Any], sizes: Sequence[int], rule: Rule, threads: int | None) -> Plan:
        offsets = np.cumsum([0, *sizes[:-1]]).tolist()
        planner = Planner.from_rule(rule)
        count = delayed(count_block)
        while not planner.done:
            state = planner.partial()["state"]
            partials = [
                count(state, block, offset, self._backend, threads or 1)
                for block, offset in zip(blocks, offsets, strict=True)
            ]
            planner.merge(Planner.from_partial(merge_tree(partials).compute()))
            planner.advance()
        plan: Plan = planner.plan
        return plan

    def apply(
        self, plan: Plan, losses: Any, weights: Any | None, mu: float, out: Any | None, threads: int | None
    ) -> tuple[Any, None]:
        """Return the new weights as a Dask array, not yet computed; `out` must be None.

        Invalid old weights raise an error when their block is computed.
        """
        assert out is None
        function: Callable[..., Any] = reweight_block
        arrays = [losses]
        if weights is not None:
            function = smooth_block
            arrays.append(weights)
        new_weights = da.map_blocks(
            function,
            *arrays,
            dtype=self._format.weights,
            meta=as_weight_type(losses._meta, self._format),
            plan=plan,
            mu=mu,
            backend=self._backend,
            threads=threads or 1,
        )
        return new_weights, None

    def count_foreign(self, plan: Plan, losses: Any, threads: int | None) -> int:  # noqa: ARG002
        """Return 0: each task of `apply` checks its own block."""
        return 0


def merge_tree(partials: list[Any]) -> Any:
    """Return a task that merges delayed partial results in a tree of `FAN_IN` branches."""
    merge = delayed(merge_partials)
    while len(partials) > 1:
        groups = [partials[i : i + FAN_IN] for i in range(0, len(partials), FAN_IN)]
        partials = [merge(group) if len(group) > 1 else group[0] for group in groups]
    return partials[0]


def count_block(state: Array, block: Any, offset: int, backend: str | None, threads: int) -> dict[str, Array]:
    """Count a block in one round, and return the partial result.

    Parameters
    ----------
    state : int64 array
        State of the selection, from `Planner.partial`.
    block : array of shape (m,)
        Losses.
    offset : int
        Index of the first of them among all losses.
    backend, threads
        As for `Planner`.
    """
    planner = Planner.from_partial({"state": state}, backend=backend, threads=threads)
    planner.update(block, offset=offset)
    return planner.partial()


def merge_partials(partials: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Merge partial results of one round into one."""
    planner = Planner.from_partial(partials[0])
    # One after the other: the counts of groups are large.
    for partial in partials[1:]:
        planner.merge(Planner.from_partial(partial))
    return planner.partial()


def reweight_block(
    block: Any,
    weights: Any | None = None,
    *,
    plan: Plan,
    mu: float,
    backend: str | None,
    threads: int,
    block_start: int | None = None,
) -> Any:
    """Return the new weights of a block of losses, whose first has the index `block_start`.

    See `rrm_core.apply` for the other parameters.
    """
    if block.shape[0] == 0:
        return as_weight_type(block, BY_NAME[plan.dtype])
    request = prepare_fast(block, weights, mu, None, backend, threads)
    if request is None:
        request = prepare_block(block, weights, mu, None, backend, threads, block_start)
    return request.apply(plan, block_start)


def smooth_block(block: Any, weights: Any, *, block_info: Any = None, **options: Any) -> Any:
    """Return the new weights of a block of losses with old weights. Dask provides `block_info`."""
    start = None
    if block_info is not None:
        start = block_info[0]["array-location"][0][0]
    return reweight_block(block, weights, block_start=start, **options)


def as_weight_type(block: Any, format: Format) -> Any:
    """Convert a block to the type of the weights of losses in a format."""
    xp = array_namespace(block)
    return xp.astype(block, getattr(xp, format.weights.name))


def _describe_blocks(name: str, x: Any) -> Argument:
    """Return one sample of the type and framework of the blocks of a Dask array, as an argument.

    Raises
    ------
    TypeError, ValueError
        The array is not a vector of a supported type, or is empty or masked.
    """
    if x.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {x.shape}")
    if x.shape[0] == 0:
        raise ValueError(f"{name} is empty; at least one sample is needed")
    block = x._meta
    if isinstance(block, np.ma.MaskedArray):
        raise TypeError(
            f"{name} have masked blocks, whose masks would be ignored; pass dask.array.ma.filled({name}, numpy.nan)"
        )
    if is_array_api_obj(block):
        block = array_namespace(block).ones(1, dtype=block.dtype)
    return to_argument(name, block, native=False)
