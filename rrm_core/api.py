"""The public functions: arguments are documented and checked here; a backend computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from array_api_compat import is_dask_array

from ._arguments import check_mu, check_threads
from ._engine import Request, prepare, prepare_fast, reweight_fast
from ._grouped_engine import GroupedRequest, prepare_groups
from .arrays.groups import Groups
from .definition.group_plan import GroupedPlan
from .definition.plan import Plan
from .definition.rule import Mass, NaN, Redistribute, Ties, make_grouped_rule, make_rule

if TYPE_CHECKING:
    from .dask_groups import DaskGroupedRequest


@overload
def reweight(
    losses: Any,
    weights: Any | None = None,
    *,
    contamination: float | None = None,
    gamma: float | None = None,
    groups: None = None,
    mu: float = 1.0,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    out: Any | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Plan]: ...
@overload
def reweight(
    losses: Any,
    weights: Any | None = None,
    *,
    contamination: Any | None = None,
    gamma: float | None = None,
    groups: Any,
    cap: Any | None = None,
    mass: Mass = "all",
    mu: float = 1.0,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    out: Any | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, GroupedPlan]: ...
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
    out: Any | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Plan | GroupedPlan]:
    """Return the sample weights of Rockafellian Relaxation for `losses`, and the plan from which they follow.

    The distribution p over the n samples that minimises ``sum(p * losses) + gamma * d_TV(p, uniform)`` prunes every
    sample whose loss exceeds ``min(losses) + gamma`` and moves its mass to samples with small losses. The weights are
    ``n * p``: 0 for a pruned sample, 1 for an unchanged one; their mean is 1.

    Parameters
    ----------
    losses : array of shape (n,), float16, bfloat16, float32 or float64
        One loss per sample: an array of NumPy, torch, CuPy, JAX or another array-API framework, a Series of pandas or
        polars, an array of pyarrow, xarray, TensorFlow, Paddle or MLX, an object with `__dlpack__`,
        `__array_interface__`, `__array__` or a buffer, a list of numbers, or a Dask array. +inf is allowed. A
        contiguous array is read in place, without a copy.
    weights : array of shape (n,), float32 or float64, optional
        The previous weights, finite and at least 0, of the same framework and device; ones if None. Series, Arrow
        arrays, DataArrays and buffers count as NumPy arrays here, and go by position; two with different labels are an
        error. The weights are read, and their values checked, only if ``mu < 1``. The new weights are float32 (float64
        for float64 losses); previous weights of the other type are converted if every value is representable in that
        type.
    contamination : float in [0, 1), or array of shape (n_groups,)
        Share of the samples to prune, usually the estimated share of wrong labels: the threshold is the
        ``n - floor(contamination * n)``-th smallest loss. Give either this or `gamma`. With `groups`, an array has a
        share of each group, whose threshold is the ``n - floor(share * n)``-th smallest of its n losses.
    gamma : float, at least 0
        Price of total variation, in units of the loss: the threshold is ``min(losses) + gamma``.
    groups : array of integers, shape (n,), or Groups, optional
        The group of each sample, from 0: its class, source, annotator, rule or domain; on the host or on the device of
        `losses`. The number of groups is that of the shares in `contamination` or `cap`, or the largest group number
        + 1. For more than one call, prepare it: ``rrm_core.Groups(groups)``.
    cap : float in [0, 1), or array of shape (n_groups,), optional
        The largest share of a group that one `contamination` may prune: the threshold of a group is that of all or, if
        this is higher, the one at which `cap` as its own share would prune. In total, fewer samples are pruned then.
    mass : {"all", "group"}, default "all"
        Who receives the mass that is taken from the samples of a group: recipients of all groups, or those of the group
        itself, so that its mean weight stays 1. With ``"group"``, `gamma` counts from the smallest loss of the group,
        and `redistribute` chooses recipients within it.
    mu : float in (0, 1], default 1
        Step size from the previous weights to their targets: ``(1 - mu) * weights + mu * target``.
    redistribute : {"argmin", "kept", "drop"} or float in (0, 1], default "argmin"
        The recipients of the pruned mass. ``"argmin"``: the samples with the smallest loss, in equal parts, which is
        the optimum. A fraction f: the samples with the ``ceil(f * n)`` smallest losses, in equal parts. ``"kept"``: all
        kept samples, in proportion to their weights (not the optimum, but no sample gets a large weight). ``"drop"``:
        no sample, as in a trimmed loss; the mean weight falls below 1.
    ties : {"keep", "share"}, default "keep"
        Samples whose loss equals the threshold. ``"keep"``: they are kept, so that at most
        ``floor(contamination * n)`` samples are pruned. ``"share"``: each loses the same share of its weight, so that
        exactly that mass is removed, which bounded losses need; only with `contamination`.
    nan : {"raise", "prune"}, default "raise"
        Raise an error for NaN, or prune them as the highest losses, however many there are.
    out : array of shape (n,), optional
        Memory for the result: writable, of the losses' framework and device, and of the new weights' type. It may be
        `weights` itself. Arrays that can't be written in place, such as a Series, are an error.
    backend : {"cpp", "numba", "numpy", "cuda", "array_api"}, optional
        The backend to use, without fallback; by default the first available one. All return the same bits.
    threads : int, at least 1, optional
        The largest number of threads; by default ``OMP_NUM_THREADS``, or the number of processors that this process
        may use. Small arrays get one thread. Only compiled backends use it; the result does not depend on it.

    Returns
    -------
    weights : array of shape (n,)
        The new weights, in the framework and on the device of `losses`, a Series with its index and name, a DataArray
        with its coordinates; `out` if it was given. A NumPy array for an object that can't be rebuilt.
    plan : Plan, or GroupedPlan with `groups`
        Threshold, counts and levels.

    Raises
    ------
    TypeError
        An argument has the wrong type, framework or dtype, or is an array that has no values, such as a traced one.
    ValueError
        An argument has the wrong shape, labels or value, or misses values, the losses contain NaN or -inf, or no
        finite value (in a group that has samples), or a weight that is read is NaN, infinite or negative; or
        ``mass="group"`` and all samples of a group lie above the threshold of all.
    ImportError
        `backend` is not installed; the message names what to install.
    RuntimeError
        ``backend="cuda"`` finds no device, or CUDA reports an error.

    Notes
    -----
    If an error is raised, nothing has been written, with one exception: invalid `weights` are detected while the new
    ones are computed, so that `out` has been written then, as the message says.

    On an NVIDIA GPU, with the ``"cuda"`` backend, the call returns before the device has finished. Invalid losses are
    then reported when a computed field of the plan is first read; `weights` and `out` are unchanged, and a new array of
    weights is all NaN. With `groups`, the call waits for the device instead, a number of times that depends neither on
    n nor on the number of groups, and raises the error itself.

    A call that is interrupted, as by KeyboardInterrupt, leaves in `out` the old numbers or all new weights.

    The plan of a Dask array is made during the call, by the active scheduler: the losses are counted block by block on
    the workers, in one round (float16, bfloat16), two (float32) or two to four (float64). The weights are a lazy Dask
    array with the same chunks; computing them reads the losses once more, so that ``losses.persist()`` pays off where
    losses are costly. `weights` must be a Dask array, too, and is rechunked like `losses`; `out` is not supported;
    `backend` ("cpp" or "numpy") and `threads` (by default 1) apply to each task. `groups` may be on the host, or a Dask
    array; its number of groups must then follow from a share of each group, or from ``Groups(groups, n_groups)``, which
    computes nothing. With groups, the losses are read more often, see `Planner`.

    See Also
    --------
    plan, apply : the two halves of this function.

    References
    ----------
    .. [1] Chen, Chern, Eckstrand, Mahapatra, Royset, "Enhancing Learning with Noisy Labels via Rockafellian
       Relaxation", ICLR 2026, arXiv:2405.20531.

    Examples
    --------
    >>> import rrm_core
    >>> weights, plan = rrm_core.reweight([0.1, 0.3, 0.2, 4.0, 0.4], contamination=0.2)
    >>> weights
    array([2., 1., 1., 0., 1.])
    >>> plan.threshold, plan.n_pruned
    (0.4, 1)

    A threshold for each of two groups, of which only the second has wrong labels:

    >>> groups = [0, 1, 1, 0, 1]
    >>> weights, plan = rrm_core.reweight([0.1, 0.3, 0.2, 4.0, 0.4], groups=groups, contamination=[0, 0.4])
    >>> weights
    array([2., 1., 1., 1., 0.])
    >>> plan.threshold
    array([4. , 0.3])
    """
    if groups is None:
        mu = check_mu(mu)
        threads = check_threads(threads)
        parameters = (contamination, gamma, redistribute, ties, nan, cap, mass)
        result = reweight_fast(losses, weights, parameters, mu, out, backend, threads)
        if result is None:
            request = prepare_any(losses, weights, mu, out, backend, threads)
            result = request.reweight(make_rule(*parameters))
        return result
    rule = make_grouped_rule(contamination, gamma, redistribute, ties, nan, cap, mass)
    return prepare_grouped_call(losses, weights, mu, out, backend, threads, groups, rule.n_groups).reweight(rule)


@overload
def plan(
    losses: Any,
    *,
    contamination: float | None = None,
    gamma: float | None = None,
    groups: None = None,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    backend: str | None = None,
    threads: int | None = None,
) -> Plan: ...
@overload
def plan(
    losses: Any,
    *,
    contamination: Any | None = None,
    gamma: float | None = None,
    groups: Any,
    cap: Any | None = None,
    mass: Mass = "all",
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    backend: str | None = None,
    threads: int | None = None,
) -> GroupedPlan: ...
def plan(
    losses: Any,
    *,
    contamination: Any | None = None,
    gamma: float | None = None,
    groups: Any | None = None,
    cap: Any | None = None,
    mass: Mass = "all",
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    backend: str | None = None,
    threads: int | None = None,
) -> Plan | GroupedPlan:
    """Return the plan of `reweight`: threshold, counts and target weights, the only step that depends on all losses.

    Parameters
    ----------
    losses : array of shape (n,)
        As for `reweight`, Dask arrays included. The errors are those of `reweight` as well.
    contamination, gamma, groups, cap, mass, redistribute, ties, nan, backend, threads
        See `reweight`.

    Returns
    -------
    Plan, or GroupedPlan with `groups`
        Threshold, counts and levels.

    Examples
    --------
    >>> import rrm_core
    >>> rrm_core.plan([0.1, 0.3, 0.2, 4.0, 0.4], gamma=1.0).n_pruned
    1
    """
    if groups is None:
        request = prepare_call(losses, None, 1.0, None, backend, threads)
        return request.plan(make_rule(contamination, gamma, redistribute, ties, nan, cap, mass))
    rule = make_grouped_rule(contamination, gamma, redistribute, ties, nan, cap, mass)
    return prepare_grouped_call(losses, None, 1.0, None, backend, threads, groups, rule.n_groups).plan(rule)


def apply(
    plan: Plan | GroupedPlan,
    losses: Any,
    weights: Any | None = None,
    *,
    groups: Any | None = None,
    mu: float = 1.0,
    out: Any | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> Any:
    """Return the weights of `losses` according to `plan`, sample by sample.

    Parameters
    ----------
    plan : Plan or GroupedPlan
        From `plan` or `reweight`.
    losses : array of shape (m,)
        The losses for which the plan was made, or a part of them, of the same type.
    weights : array of shape (m,), optional
        Their previous weights; ones if None. See `reweight`.
    groups : array of integers, shape (m,), or Groups, optional
        Their groups, if the plan was made with groups.
    mu, out, backend, threads
        See `reweight`.

    Returns
    -------
    array of shape (m,)
        The new weights, in the framework and on the device of `losses`; `out` if it was given. A Dask array is lazy.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `reweight`; also if `losses` differ in type from the planned ones, are more than these, or contain values
        that these cannot have contained (below their minimum, or NaN where there were none; with `groups`, in their
        group), or if `groups` are missing, were not planned for, or lie beyond those of the plan. Nothing has been
        written, except to `out` where `weights` are NaN, infinite or negative. In a Dask array such values are detected
        when their block is computed.

    Examples
    --------
    >>> import numpy as np, rrm_core
    >>> losses = np.array([0.1, 0.3, 0.2, 4.0, 0.4], np.float32)
    >>> plan = rrm_core.plan(losses, contamination=0.2)
    >>> np.concatenate([rrm_core.apply(plan, losses[:2]), rrm_core.apply(plan, losses[2:])])
    array([2., 1., 1., 0., 1.], dtype=float32)
    """
    if isinstance(plan, GroupedPlan):
        if groups is None:
            raise ValueError(f"the plan was made for {plan.n_groups:_} groups; pass those of these losses as groups")
        return prepare_grouped_call(losses, weights, mu, out, backend, threads, groups, plan.n_groups).apply(plan)
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be a Plan, as rrm_core.plan returns it, got {type(plan).__name__}")
    if groups is not None:
        raise ValueError("groups were given, but the plan was made without groups; leave them out, or plan with them")
    return prepare_call(losses, weights, mu, out, backend, threads).apply(plan)


def prepare_call(
    losses: Any, weights: Any | None, mu: float, out: Any | None, backend: str | None, threads: int | None
) -> Request:
    """Return the request for arrays of any framework."""
    mu = check_mu(mu)
    threads = check_threads(threads)
    request = prepare_fast(losses, weights, mu, out, backend, threads)
    if request is None:
        request = prepare_any(losses, weights, mu, out, backend, threads)
    return request


def prepare_any(
    losses: Any, weights: Any | None, mu: float, out: Any | None, backend: str | None, threads: int | None
) -> Request:
    """Return the request for arrays of any framework, of which few are the usual ones of `prepare_fast`.

    `mu` and `threads` have been checked.
    """
    if any(map(is_dask_array, (losses, weights, out))):
        # Only here, since it imports Dask.
        from . import dask_arrays

        return dask_arrays.prepare(losses, weights, mu, out, backend, threads)
    return prepare(losses, weights, mu, out, backend, threads)


def prepare_grouped_call(
    losses: Any,
    weights: Any | None,
    mu: float,
    out: Any | None,
    backend: str | None,
    threads: int | None,
    groups: Any,
    n_groups: int | None,
) -> GroupedRequest | DaskGroupedRequest:
    """Return the request for arrays of any framework, with groups; for `n_groups` see `to_groups`."""
    mu = check_mu(mu)
    threads = check_threads(threads)
    numbers = groups.numbers if isinstance(groups, Groups) else groups
    if any(map(is_dask_array, (losses, weights, out, numbers))):
        from . import dask_groups

        return dask_groups.prepare_dask_groups(losses, weights, mu, out, backend, threads, groups, n_groups)
    return prepare_groups(losses, weights, mu, out, backend, threads, groups, n_groups)
