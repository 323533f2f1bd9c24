"""The public functions: they document and check their arguments; a backend computes."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device, is_dask_array

from ._engine import Request, prepare, prepare_fast
from .definition.arguments import as_float, check_mu, check_threads
from .definition.formats import widen
from .definition.plan import Plan
from .definition.rule import NaN, Redistribute, Rule, Ties, make_rule


def reweight(
    losses: Any,
    weights: Any | None = None,
    *,
    contamination: float | None = None,
    gamma: float | None = None,
    mu: float = 1.0,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    out: Any | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> tuple[Any, Plan]:
    """Return the sample weights that Rockafellian Relaxation gives to `losses`, and the plan behind them.

    The distribution p over the n samples that minimises ``sum(p * losses) + gamma * d_TV(p, uniform)`` prunes every
    sample whose loss exceeds ``min(losses) + gamma`` and hands its mass to trusted ones. The weights are ``n * p``:
    0 is pruned, 1 is unchanged, and their mean is 1.

    Parameters
    ----------
    losses : array of shape (n,), float16, bfloat16, float32 or float64
        One loss per sample, from NumPy, torch, CuPy, JAX or another array-API framework, a list of numbers, or a Dask
        array. +inf is a legal loss. Read where it lies, without a copy, if it is contiguous.
    weights : array of shape (n,), float32 (float64 for float64 losses), optional
        The current weights, from the same framework and device; ones if None. Read only if ``mu < 1``, and taken as
        they are: a NaN among them stays one.
    contamination : float in [0, 1)
        The share of samples to prune, usually the estimated share of wrong labels: the threshold is the
        ``n - floor(contamination * n)``-th smallest loss. Give this or `gamma`.
    gamma : float, at least 0
        The price of total variation, in units of the loss: the threshold is ``min(losses) + gamma``.
    mu : float in (0, 1], default 1
        Step from the current weights to their targets: ``(1 - mu) * weights + mu * target``.
    redistribute : {"argmin", "kept", "drop"} or float in (0, 1], default "argmin"
        Who receives the pruned mass. ``"argmin"``: the samples with the smallest loss, in equal parts, which is the
        optimum. A fraction f: the ``ceil(f * n)`` smallest losses, in equal parts. ``"kept"``: all kept samples, in
        proportion (not the optimum, but no single sample gets a large weight). ``"drop"``: nobody, as in a trimmed
        loss; the mean falls below 1.
    ties : {"keep", "share"}, default "keep"
        Samples exactly on the threshold are kept, so that at most ``floor(contamination * n)`` samples are pruned; or
        each gives up the same part of its weight, so that exactly that much mass is removed, which bounded losses
        need. ``"share"`` needs `contamination`.
    nan : {"raise", "prune"}, default "raise"
        Refuse NaN, or prune them as the highest losses, however many there are.
    out : array of shape (n,), optional
        Memory for the result: writable, of the weights' framework, device and type. May be `weights` itself.
    backend : {"cpp", "numba", "numpy", "cuda", "array_api"}, optional
        Insist on one backend. All give the same bits.
    threads : int, at least 1, optional
        Use at most so many threads; by default ``OMP_NUM_THREADS``, or as many as there are processors for this
        process. Small arrays get one. The compiled backends heed it; the answer never depends on it.

    Returns
    -------
    weights : array of shape (n,)
        The new weights, in the framework and on the device of `losses`; `out` if it was given.
    plan : Plan
        Threshold, counts and levels.

    Raises
    ------
    TypeError
        An argument has the wrong type, framework or dtype.
    ValueError
        An argument has the wrong shape or value, or the losses contain NaN or -inf, or nothing finite.
    ImportError
        `backend` is not installed; the message says what to install.
    RuntimeError
        ``backend="cuda"`` finds no device, or CUDA reports an error.

    Notes
    -----
    Whatever is raised, nothing has been written.

    On an NVIDIA GPU, with the ``"cuda"`` backend, the call returns before the device has done anything. What is wrong
    with the losses is then raised by the first look at the plan; `weights` and `out` are as they were, and a new array
    is all NaN.

    The plan of a Dask array is made during the call, by the scheduler in use: every block is counted where it lies, in
    one round (float16, bfloat16), two (float32) or two to four (float64). The weights are a Dask array in the same
    chunks, of which nothing is computed yet; to compute them reads the losses once more. So ``losses.persist()`` pays
    where they are costly. `weights` are a Dask array, too, and get the chunks of `losses`; there is no `out`; `backend`
    ("cpp" or "numpy") and `threads` (by default 1) are those of a task.

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
    """
    request = _prepare(losses, weights, mu, out, backend, threads)
    return request.reweight(make_rule(contamination, gamma, redistribute, ties, nan))


def plan(
    losses: Any,
    *,
    contamination: float | None = None,
    gamma: float | None = None,
    redistribute: Redistribute = "argmin",
    ties: Ties = "keep",
    nan: NaN = "raise",
    backend: str | None = None,
    threads: int | None = None,
) -> Plan:
    """Return the threshold and the weights on its sides: the one step of `reweight` that looks at all losses.

    Parameters
    ----------
    losses : array of shape (n,)
        As for `reweight`, a Dask array included; so are the other parameters and the errors.
    contamination, gamma, redistribute, ties, nan, backend, threads
        See `reweight`.

    Returns
    -------
    Plan
        Threshold, counts and levels.

    Examples
    --------
    >>> import rrm_core
    >>> rrm_core.plan([0.1, 0.3, 0.2, 4.0, 0.4], gamma=1.0).n_pruned
    1
    """
    request = _prepare(losses, None, 1.0, None, backend, threads)
    return request.plan(make_rule(contamination, gamma, redistribute, ties, nan))


def apply(
    plan: Plan,
    losses: Any,
    weights: Any | None = None,
    *,
    mu: float = 1.0,
    out: Any | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> Any:
    """Return the weights that `plan` gives to `losses`, sample by sample.

    Parameters
    ----------
    plan : Plan
        From `plan` or `reweight`.
    losses : array of shape (m,)
        The losses that were planned, or a part of them, in the same type.
    weights : array of shape (m,), optional
        Their current weights; ones if None. Read only if ``mu < 1``.
    mu, out, backend, threads
        See `reweight`.

    Returns
    -------
    array of shape (m,)
        The new weights, in the framework and on the device of `losses`; `out` if it was given. Of Dask arrays, nothing
        is computed during the call.

    Raises
    ------
    TypeError, ValueError, ImportError
        As `reweight`; also if `losses` are of another type than the planned ones, or more, or contain values that
        these can't have contained (below their minimum, or NaN where there were none). Nothing has been written. Such
        values in a Dask array are noticed when their block is computed.

    Examples
    --------
    >>> import numpy as np, rrm_core
    >>> losses = np.array([0.1, 0.3, 0.2, 4.0, 0.4], np.float32)
    >>> plan = rrm_core.plan(losses, contamination=0.2)
    >>> np.concatenate([rrm_core.apply(plan, losses[:2]), rrm_core.apply(plan, losses[2:])])
    array([2., 1., 1., 0., 1.], dtype=float32)
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"plan must be a Plan, as rrm_core.plan returns it, got {type(plan).__name__}")
    return _prepare(losses, weights, mu, out, backend, threads).apply(plan)


def objective(losses: Any, gamma: float) -> float:
    """Return the least expected loss plus price: the minimum of ``sum(p * losses) + gamma * d_TV(p, uniform)`` over p.

    It equals ``mean(minimum(losses, min(losses) + gamma))``.

    Parameters
    ----------
    losses : array of shape (n,)
        As for `reweight`.
    gamma : float, at least 0
        The price of total variation, in units of the loss.

    Returns
    -------
    float
        The optimal value, summed in float64 where the device has it; of a Dask array, during the call.

    Raises
    ------
    TypeError, ValueError
        As `reweight`.

    Examples
    --------
    >>> import rrm_core
    >>> round(rrm_core.objective([0.1, 0.3, 0.2, 4.0, 0.4], gamma=1.0), 3)
    0.42
    """
    request = _prepare(losses, None, 1.0, None, None, None)
    plan = request.plan(Rule(gamma=as_float("gamma", gamma)))
    values = request.losses
    if request.placement.on_host:
        values = widen(values)
    xp = array_namespace(values)
    dtypes = xp.__array_namespace_info__().dtypes(device=device(values))
    double = dtypes.get("float64", xp.float32)
    # The excess over the smallest loss is summed: the losses' own sum could overflow.
    excess = xp.astype(values, double) - plan.loss_min
    excess = xp.where(values <= plan.threshold, excess, xp.zeros_like(excess))
    capped = plan.n_pruned * plan.gamma if plan.n_pruned else 0.0
    return plan.loss_min + (float(xp.sum(excess)) + capped) / plan.n


def _prepare(
    losses: Any, weights: Any | None, mu: float, out: Any | None, backend: str | None, threads: int | None
) -> Request:
    mu = check_mu(mu)
    if threads is not None:
        threads = check_threads(threads)
    if backend is None:
        request = prepare_fast(losses, weights, mu, out, threads)
        if request is not None:
            return request
    if any(map(is_dask_array, (losses, weights, out))):
        # Only here, since it imports Dask.
        from . import dask_arrays

        return dask_arrays.prepare(losses, weights, mu, out, backend, threads)
    return prepare(losses, weights, mu, out, backend, threads)
