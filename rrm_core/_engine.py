"""One call: its arguments checked and converted, a backend chosen, the result converted back.

`rrm_core.api` uses it for arrays of all frameworks, `rrm_core.dask_arrays` for the blocks of a Dask array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .arrays.checks import check_match, check_out, check_weights_match
from .arrays.convert import host_views, mark_written, to_argument, wrap_like
from .arrays.kinds import check_same_labels
from .arrays.placement import Placement
from .arrays.weight_types import convert_weights
from .backends.registry import Backend, choose, plain_backend
from .definition.formats import BY_STORAGE, Format
from .definition.old_weights import InvalidWeights, raise_invalid_weights
from .definition.plan import Plan
from .definition.rule import Rule


class Request(NamedTuple):
    """The arguments of one call as its backend gets them, and what is needed to return its result.

    Attributes
    ----------
    losses : array
    old_weights : array or None
        The previous weights; None if they are ones or are not read, since `mu` is 1.
    mu : float
    memory : array or None
        Memory for the result, as the backend gets it.
    out : array or None
        The same memory, as the caller passed it.
    placement : Placement
        Of the losses.
    format : Format
        Of the losses.
    backend : Backend
    threads : int or None
    """

    losses: Any
    old_weights: Any | None
    mu: float
    memory: Any | None
    out: Any | None
    placement: Placement
    format: Format
    backend: Backend
    threads: int | None

    def plan(self, rule: Rule) -> Plan:
        """Return the plan for the losses."""
        return self.backend.plan(self.losses, rule, self.threads)

    def reweight(self, rule: Rule) -> tuple[Any, Plan]:
        """Return the new weights and the plan."""
        # Unpacking is faster than looking up every attribute.
        losses, old_weights, mu, memory, out, placement, _, backend, threads = self
        if not hasattr(backend, "reweight"):
            plan = backend.plan(losses, rule, threads)
            return self._weights(plan), plan
        weights, plan, invalid = backend.reweight(losses, rule, old_weights, mu, memory, threads)
        return hand_back(weights, out, placement, invalid, losses.shape[0]), plan

    def apply(self, plan: Plan, block_start: int | None = None) -> Any:
        """Return the new weights according to a plan that was made before.

        If the losses are a block of an array, `block_start` is the index of the first, for messages.

        Raises
        ------
        TypeError, ValueError
            The losses cannot be those for which the plan was made, or a part of them; or an old weight is NaN,
            infinite or negative.
        """
        self.check_plan(plan.n, plan.dtype)
        n_foreign = self.backend.count_foreign(plan, self.losses, self.threads)
        if n_foreign:
            or_nan = "" if plan.n_nan else ", or NaN"
            raise ValueError(
                f"losses contain {n_foreign:_} values that the planned ones can't have contained: below their minimum "
                f"{plan.loss_min:.6g}{or_nan}; make a plan for these losses"
            )
        return self._weights(plan, block_start)

    def _weights(self, plan: Plan, block_start: int | None = None) -> Any:
        def write(memory: Any) -> tuple[Any, InvalidWeights | None]:
            return self.backend.apply(plan, self.losses, self.old_weights, self.mu, memory, self.threads)

        return self.write(write, block_start)

    def write(self, write: Callable[[Any], tuple[Any, InvalidWeights | None]], block_start: int | None = None) -> Any:
        """Return the new weights that a function of a backend writes to the memory that it is given."""
        memory = self.memory
        # For arrays elsewhere the backend allocates the result.
        if memory is None and self.placement.on_host:
            memory = np.empty(len(self.losses), self.format.weights)
        weights, invalid = write(memory)
        return hand_back(weights, self.out, self.placement, invalid, self.losses.shape[0], block_start)

    def check_plan(self, n: int, dtype: str) -> None:
        """Raise unless the losses are of the type, and not more than the number, for which a plan was made."""
        if self.format.name != dtype:
            raise TypeError(f"losses must be {dtype}, as the planned ones were, got {self.format.name}")
        if self.losses.shape[0] > n:
            raise ValueError(f"losses have {self.losses.shape[0]:_} samples, but the plan was made for {n:_}")


def hand_back(
    weights: Any,
    out: Any | None,
    placement: Placement,
    invalid: InvalidWeights | None,
    n: int,
    block_start: int | None = None,
) -> Any:
    """Return new weights as the caller gets them.

    Parameters
    ----------
    weights : array
        From a backend.
    out : array or None
        The caller's memory, in which they are.
    placement : Placement
        Of the losses.
    invalid : InvalidWeights or None
        Of the `n` old weights.
    block_start : int, optional
        See `Request.apply`.

    Raises
    ------
    ValueError
        Old weights are invalid.
    """
    if out is None:
        weights = wrap_like(weights, placement)
    else:
        weights = out
        mark_written(out, placement)
    if invalid is not None:
        raise_invalid_weights(invalid, n, written=out is not None, block_start=block_start)
    return weights


def reweight_fast(
    losses: Any,
    weights: Any | None,
    parameters: tuple[Any, ...],
    mu: float,
    out: Any | None,
    backend: str | None,
    threads: int | None,
) -> tuple[Any, Plan] | None:
    """Return the new weights and the plan, for the usual arguments; None for others.

    Parameters
    ----------
    parameters
        The arguments of `make_rule`. If they are invalid, the result is None as well.
    losses, weights, mu, out, backend, threads
        As for `prepare_fast`.
    """
    kernel = plain_backend(backend)
    views = None if kernel is None else host_views(losses, weights, out)
    if kernel is None or views is None:
        return None
    view, old, memory, placement = views
    result = kernel.reweight_plain(view, parameters, old, mu, memory, threads)
    if result is None:
        return None
    new, plan, invalid = result
    return hand_back(new, out, placement, invalid, plan.n), plan


def prepare_fast(
    losses: Any, weights: Any | None, mu: float, out: Any | None, backend: str | None, threads: int | None
) -> Request | None:
    """Return the request for the usual arguments; None for others.

    The usual arguments are those of `host_views` that the compiled CPU backend can use as they are, with `backend` None
    or "cpp". `mu` and `threads` have been checked.
    """
    kernel = plain_backend(backend)
    views = None if kernel is None else host_views(losses, weights, out)
    if kernel is None or views is None:
        return None
    view, old, memory, placement = views
    if not kernel.are_plain(view, old, memory):
        return None
    format = BY_STORAGE[view.dtype]
    return Request(view, old if mu < 1 else None, mu, memory, out, placement, format, kernel, threads)


def prepare(
    losses: Any,
    weights: Any | None,
    mu: float,
    out: Any | None,
    backend: str | None,
    threads: int | None,
    block_start: int | None = None,
) -> Request:
    """Return the request for arrays of any framework, except Dask arrays.

    `mu` and `threads` have been checked; everything else is checked here. For `block_start` see `Request.apply`.

    Raises
    ------
    TypeError, ValueError, ImportError, RuntimeError
        As `rrm_core.reweight`.
    """
    native = backend == "array_api"
    c = to_argument("losses", losses, native=native, list_type=np.float64)
    old: Any = None
    memory: Any = None
    w = None
    if weights is not None:
        w = to_argument("weights", weights, native=native, list_type=c.format.weights)
    o = None
    if out is not None:
        o = to_argument("out", out, native=native)
        memory = o.array
    if w is not None:
        check_weights_match(w, c)
        if w.placement.kind is not None:
            check_same_labels("weights", weights, "losses", losses)
    if o is not None:
        check_match(o, c)
        check_out(o, c, w)
    if w is not None and mu < 1:
        old = w.array
        if w.format.storage != c.format.weights:
            old = convert_weights("weights", old, c.format.weights, block_start)
    chosen = choose(backend, on_host=c.placement.on_host, on_cuda=c.placement.on_cuda)
    return Request(c.array, old, mu, memory, out, c.placement, c.format, chosen, threads)
