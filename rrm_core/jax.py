"""`reweight` for JAX, also within functions that JAX transforms: jit, grad, vmap, scan.

JAX must be installed; ``import rrm_core`` does not import this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import check_mu, check_threads
from ._public import publish
from .api import prepare_call, prepare_grouped_call
from .arrays.checks import check_not_empty, check_one_dimensional, check_weights_match
from .arrays.convert import format_of
from .arrays.groups import Groups
from .arrays.placement import NUMPY, Argument
from .backends.registry import choose
from .definition.formats import BY_STORAGE, FLOAT64, Array, Format
from .definition.group_plan import GroupedPlan
from .definition.key_arrays import encode_keys
from .definition.plan import Plan
from .definition.rule import Mass, NaN, Redistribute, Rule, Ties, make_grouped_rule, make_rule

__all__ = ["PlanArrays", "reweight"]


class PlanArrays(NamedTuple):
    """The threshold and the counts of a plan, as arrays that JAX can trace: a pytree.

    Attributes
    ----------
    threshold : array of shape (), or (n_groups,) with groups
        Samples with a loss above it are pruned. It has the type of the weights; NaN for a group without samples.
    n_pruned : int32 array, likewise
        Number of samples with a loss above the threshold.
    n_tied : int32 array, likewise
        Number of samples whose loss equals the threshold.
    n_recipients : int32 array, likewise
        Number of samples that receive mass.
    """

    threshold: jax.Array
    n_pruned: jax.Array
    n_tied: jax.Array
    n_recipients: jax.Array


publish(__name__, PlanArrays)


def reweight(
    losses: Any,
    weights: Any | None = None,
    *,
    contamination: Any | None = None,
    gamma: float | None = None,
    groups: Any | None = None,
    cap: Any | None = None,
    mass: Mass = "all",
    mu: float = 1.0,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[jax.Array, PlanArrays]:
    """Return the sample weights for `losses`, within transformed functions as well, and numbers of the plan.

    Bit for bit, the weights are those of `rrm_core.reweight`. They are constants to differentiation, as in training:
    no gradient passes through them to the losses.

    Parameters
    ----------
    losses : array of shape (n,), float16, bfloat16, float32 or float64
        One loss per sample: an array of JAX, which may be traced, or what `jax.numpy.asarray` takes.
    weights : array of shape (n,), float32 or float64, optional
        The previous weights; ones if None. See `rrm_core.reweight`.
    groups : array of integers, shape (n,), or Groups, optional
        The group of each sample. If it is traced, the number of groups must follow from `contamination` or `cap`, as
        an array.
    contamination, gamma, cap, mass, mu, redistribute, ties, nan, backend, threads
        As for `rrm_core.reweight`. They are part of the compiled function, and so can't be traced. In a traced call,
        `backend` is one for NumPy arrays.

    Returns
    -------
    weights : array of shape (n,)
        float32, or float64 for float64 losses.
    plan : PlanArrays
        Threshold and counts.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `rrm_core.reweight`; also if an argument of the rule is traced. Within a compiled function, values of the
        losses and weights are checked when it runs: JAX then raises a ``jax.errors.JaxRuntimeError``, whose text ends
        with the message.

    Notes
    -----
    A concrete array is passed to `rrm_core.reweight`. A traced call is a `jax.pure_callback` to it, with
    ``vmap_method="sequential"``: under `vmap` each vector of losses has a plan of its own; under `jit` the losses are
    gathered in host memory, from a GPU by a copy; in `shard_map` each shard has a plan of its own.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import rrm_core.jax
    >>> @jax.jit
    ... @jax.value_and_grad
    ... def objective(prediction, target):
    ...     losses = (prediction - target) ** 2
    ...     weights, plan = rrm_core.jax.reweight(losses, contamination=0.25)
    ...     return jnp.mean(weights * losses)
    >>> value, gradient = objective(jnp.array([1.0, 2.0, 3.0, 9.0]), jnp.array([1.5, 1.0, 1.0, 1.0]))
    >>> gradient.tolist()
    [-0.5, 0.5, 1.0, 0.0]
    """
    scalars = {"contamination": contamination, "gamma": gamma, "cap": cap, "mu": mu, "redistribute": redistribute}
    for name, value in scalars.items():
        if isinstance(value, jax.core.Tracer):
            raise TypeError(
                f"{name} is being traced by JAX, but must be known when the function is compiled; pass a Python "
                "number, or name the argument in static_argnames of jit"
            )
    parameters = (contamination, gamma, redistribute, ties, nan, cap, mass)
    rule = make_rule(*parameters) if groups is None else make_grouped_rule(*parameters)
    call = Call(rule, check_mu(mu), backend, check_threads(threads), _number_of_groups(groups, rule))
    losses = jnp.asarray(losses)
    if weights is not None:
        weights = jnp.asarray(weights)
    if not any(isinstance(x, jax.core.Tracer) for x in (losses, weights, groups)):
        return call.run_now(losses, weights, groups)
    if isinstance(groups, Groups):
        groups = groups.numbers
    if groups is not None:
        groups = jnp.asarray(groups)
    result: tuple[jax.Array, PlanArrays] = _run_compiled(call, losses, weights, groups)
    return result


@dataclass(frozen=True)
class Call:
    """The arguments of a call that are no arrays. Those of equal calls are equal, so that JAX compiles them once."""

    rule: Rule
    mu: float
    backend: str | None
    threads: int | None
    n_groups: int | None

    def run_now(self, losses: Any, weights: Any | None, groups: Any | None) -> tuple[jax.Array, PlanArrays]:
        """Return the result for concrete arrays."""
        new, plan = self._reweight(losses, weights, groups)
        return new, PlanArrays(*map(jnp.asarray, _plan_numbers(plan, new.dtype)))

    def run_later(self, losses: Any, weights: Any | None, groups: Any | None) -> tuple[jax.Array, PlanArrays]:
        """Return the result as it is computed when the function that contains this call runs."""
        c = _describe("losses", losses)
        if weights is not None:
            check_weights_match(_describe("weights", weights), c)
        choose(self.backend, on_host=True, on_cuda=False)
        if groups is not None and groups.shape != losses.shape:
            raise ValueError(f"groups must have the shape of losses, got {groups.shape} for {losses.shape}")
        dtype = c.format.weights
        shape = () if self.n_groups is None else (self.n_groups,)
        describe: Any = jax.ShapeDtypeStruct
        result = (describe(losses.shape, dtype), (describe(shape, dtype), *[describe(shape, np.int32)] * 3))
        # A gradient that passed through the callback would be an error.
        arrays = jax.lax.stop_gradient((losses, weights, groups))
        new, numbers = jax.pure_callback(self, result, *arrays, vmap_method="sequential")
        return new, PlanArrays(*numbers)

    def __call__(self, losses: Any, weights: Any | None, groups: Any | None) -> tuple[Array, tuple[Array, ...]]:
        """Return the result as NumPy arrays: the function that JAX calls.

        It uses no operation of JAX, which could wait for the thread that runs it.
        """
        if weights is not None:
            weights = np.asarray(weights)
        if groups is not None:
            groups = np.asarray(groups)
        new, plan = self._reweight(np.asarray(losses), weights, groups)
        return new, _plan_numbers(plan, new.dtype)

    def _reweight(self, losses: Any, weights: Any | None, groups: Any | None) -> tuple[Any, Plan | GroupedPlan]:
        arguments = (losses, weights, self.mu, None, self.backend, self.threads)
        if groups is None:
            return prepare_call(*arguments).reweight(self.rule)
        return prepare_grouped_call(*arguments, groups, self.n_groups).reweight(self.rule)


@partial(jax.jit, static_argnums=0)
def _run_compiled(call: Call, losses: Any, weights: Any | None, groups: Any | None) -> tuple[jax.Array, PlanArrays]:
    # Without jit, each vmap outside of one would compile the call again.
    return call.run_later(losses, weights, groups)


def _number_of_groups(groups: Any | None, rule: Rule) -> int | None:
    """Return the number of groups, which is the length of the plan's arrays; None without groups."""
    if groups is None:
        return None
    if isinstance(groups, Groups):
        return groups.n_groups
    if rule.n_groups is not None:
        return rule.n_groups
    if isinstance(groups, jax.core.Tracer):
        raise ValueError(
            "groups are being traced by JAX, so that their number must be known; pass contamination or cap as an array "
            "of one share per group, or rrm_core.Groups(groups, n_groups) of concrete groups"
        )
    return Groups(groups).n_groups


def _describe(name: str, x: Any) -> Argument:
    """Return a traced array as an argument, which has the shape and type that are checked, and no values."""
    check_one_dimensional(name, x)
    check_not_empty(name, x)
    return Argument(name, x, x, NUMPY, format_of(name, x.dtype), x.shape[0])


def _plan_numbers(plan: Plan | GroupedPlan, dtype: Any) -> tuple[Array, ...]:
    """Return what `PlanArrays` holds as NumPy arrays. The threshold is exact in the type of the weights."""
    counts = (np.asarray(count, np.int32) for count in (plan.n_pruned, plan.n_tied, plan.n_recipients))
    return (_cast_threshold(plan.threshold, BY_STORAGE[np.dtype(dtype)]), *counts)


def _cast_threshold(threshold: Any, format: Format) -> Array:
    """Return float64 thresholds in a format that represents them exactly.

    They are cast by their bits: JAX runs callbacks in threads in which the processor flushes subnormal numbers to zero.
    """
    values = np.asarray(threshold, np.float64)
    if format is FLOAT64:
        return values
    keys = encode_keys(values, format)
    sign = np.uint64(1 << format.width - 1)
    # The key of NaN, 0, gives the bits of a NaN.
    bits = np.where(keys >= sign, keys ^ sign, np.uint64((1 << format.width) - 1) - keys)
    return bits.astype(np.uint32).view(np.float32)
