"""Dask arrays: losses are counted and weighed where their blocks lie, and only counts and the numbers of a plan travel.

Only `rrm_core.api` imports this module, when it is given a Dask array, so that Dask is loaded by others or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from array_api_compat import array_namespace, is_array_api_obj
from dask.base import compute
from dask.delayed import delayed

from ._engine import Request
from ._engine import prepare as prepare_block
from .arrays.checks import check_match
from .arrays.convert import to_argument
from .arrays.placement import Argument, Placement
from .backends.registry import choose, choose_counting
from .definition.formats import BY_NAME, Array, Format
from .definition.plan import Plan
from .definition.rule import Rule
from .planner.planner import Planner

FAN_IN = 8  # partial results that one task merges: as many as may have to wait for it in memory, of 512 KiB each

_PLACEMENT = Placement("dask", "cpu", on_host=False)


def prepare(
    losses: Any, weights: Any | None, mu: float, out: Any | None, backend: str | None, threads: int | None
) -> Request:
    """Return the request for Dask arrays; `mu` and `threads` have been checked.

    At least one of the arguments is a Dask array. Nothing is computed.
    """
    if out is not None:
        raise ValueError(
            "out can't be given with Dask arrays, whose weights are computed when they are asked for; "
            "leave it out to get a new array"
        )
    if not isinstance(losses, da.Array):
        raise TypeError(
            f"losses must be a Dask array where weights are one, got {type(losses).__name__}; "
            "pass dask.array.from_array(losses), or weights.compute()"
        )
    c = _read_blocks("losses", losses)
    if weights is not None:
        if not isinstance(weights, da.Array):
            raise TypeError(
                f"weights must be a Dask array where losses are one, got {type(weights).__name__}; "
                "pass dask.array.from_array(weights)"
            )
        w = _read_blocks("weights", weights)
        for name, x in (("losses", losses), ("weights", weights)):
            if np.isnan(x.shape[0]):
                raise ValueError(
                    f"{name} have chunks of unknown size, which can't be matched with those of "
                    f"{'weights' if name == 'losses' else 'losses'}; call {name}.compute_chunk_sizes() first"
                )
        check_match(w._replace(n=weights.shape[0]), c._replace(n=losses.shape[0]))
        weights = weights.rechunk(losses.chunks)
    if backend is not None:
        choose_counting(backend)
        choose(backend, on_host=c.placement.on_host, on_cuda=c.placement.on_cuda)
    blocks = Blocks(c.format, backend)
    return Request(losses, weights if mu < 1 else None, mu, None, None, _PLACEMENT, c.format, blocks, threads)


class Blocks:
    """A backend for Dask arrays: tasks that have another backend compute, block by block. See `registry.Backend`.

    Parameters
    ----------
    format : Format
        Type of the losses.
    backend : {"cpp", "numpy"}, optional
        Who computes in the tasks; by default the first that is available there.
    """

    def __init__(self, format: Format, backend: str | None) -> None:
        self._format, self._backend = format, backend

    def is_available(self) -> bool:
        """Return True: there is a Dask array."""
        return True

    def plan(self, losses: Any, rule: Rule, threads: int | None) -> Plan:
        """Return the plan: computes now, with whatever scheduler is in use, in as many rounds as the losses take."""
        blocks = losses.to_delayed().tolist()
        sizes = losses.chunks[0]
        known = not np.isnan(losses.shape[0])
        try:
            plan = self._plan(blocks, sizes if known else [0] * len(blocks), rule, threads)
        except ValueError:
            if known:
                raise
            # To say where a NaN is takes the sizes of all blocks, and these another reading.
            plan = self._plan(blocks, compute(*map(delayed(len), blocks)), rule, threads)
        if plan.dtype != self._format.name:
            raise TypeError(
                f"losses are {self._format.name} by their dtype, but their blocks are {plan.dtype}; "
                "give the right dtype where the Dask array is made"
            )
        return plan

    def _plan(self, blocks: Sequence[Any], sizes: Sequence[int], rule: Rule, threads: int | None) -> Plan:
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        planner = Planner.from_rule(rule)
        count, merge = delayed(count_block), delayed(merge_partials)
        while not planner.done:
            state = planner.partial()["state"]
            partials = [
                count(state, block, start, self._backend, threads or 1)
                for block, start in zip(blocks, starts, strict=True)
            ]
            while len(partials) > 1:
                groups = [partials[i : i + FAN_IN] for i in range(0, len(partials), FAN_IN)]
                partials = [merge(group) if len(group) > 1 else group[0] for group in groups]
            planner.merge(Planner.from_partial(partials[0].compute()))
            planner.advance()
        return planner.plan

    def apply(
        self, plan: Plan, losses: Any, weights: Any | None, mu: float, out: Any | None, threads: int | None
    ) -> Any:
        """Return the new weights as a Dask array, of which nothing is computed yet; there is no `out`."""
        assert out is None
        return da.map_blocks(
            weigh_block,
            losses,
            *([] if weights is None else [weights]),
            dtype=self._format.weights,
            meta=_in_type_of_weights(losses._meta, self._format),
            plan=plan,
            mu=mu,
            backend=self._backend,
            threads=threads or 1,
        )

    def count_foreign(self, plan: Plan, losses: Any, threads: int | None) -> int:  # noqa: ARG002
        """Return 0: the tasks of `apply` look for what wasn't planned, each in its block."""
        return 0


def count_block(state: Array, block: Any, start: int, backend: str | None, threads: int) -> dict[str, Array]:
    """Return the partial result of a block in the round of a state; `start` is the index of its first loss."""
    planner = Planner.from_partial({"state": state}, backend=backend, threads=threads)
    planner.update(block, offset=start)
    return planner.partial()


def merge_partials(partials: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Return the partial result of the blocks that have these."""
    planner, *others = map(Planner.from_partial, partials)
    for other in others:
        planner.merge(other)
    return planner.partial()


def weigh_block(
    block: Any, weights: Any | None = None, *, plan: Plan, mu: float, backend: str | None, threads: int
) -> Any:
    """Return the new weights of a block."""
    if block.shape[0] == 0:
        return _in_type_of_weights(block, BY_NAME[plan.dtype])
    return prepare_block(block, weights, mu, None, backend, threads).apply(plan)


def _in_type_of_weights(block: Any, format: Format) -> Any:
    xp = array_namespace(block)
    return xp.astype(block, getattr(xp, format.weights.name))


def _read_blocks(name: str, x: Any) -> Argument:
    """Return one sample of the type and the framework of the blocks of a Dask array, as an argument."""
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
