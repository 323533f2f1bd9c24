"""The public functions: they check and document; a backend computes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device, is_dask_array

from .arrays import convert as arrays
from .arrays.convert import Home
from .backends import registry as dispatch
from .backends.registry import Backend
from .definition.arguments import as_float, check_mu, check_threads
from .definition.formats import Format, widen
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
    call = _check(losses, weights, mu, out, backend, threads)
    return call.reweight(make_rule(contamination, gamma, redistribute, ties, nan))


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
    call = _check(losses, None, 1.0, None, backend, threads)
    return call.backend.plan(call.losses, make_rule(contamination, gamma, redistribute, ties, nan), call.threads)


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
    call = _check(losses, weights, mu, out, backend, threads)
    n = call.losses.shape[0]
    if call.format.name != plan.dtype:
        raise TypeError(f"losses must be {plan.dtype}, as the planned ones were, got {call.format.name}")
    if n > plan.n:
        raise ValueError(f"losses have {n:_} samples, but the plan was made for {plan.n:_}")
    foreign = call.backend.count_foreign(plan, call.losses, call.threads)
    if foreign:
        raise ValueError(
            f"losses contain {foreign:_} values that the planned ones can't have contained: below their minimum "
            f"{plan.loss_min:.6g}" + ("" if plan.n_nan else ", or NaN") + "; make a plan for these losses"
        )
    return call.apply(plan)


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
    call = _check(losses, None, 1.0, None, None, None)
    plan = call.backend.plan(call.losses, Rule(gamma=as_float("gamma", gamma)), None)
    values = widen(call.losses) if call.home.on_host else call.losses
    xp, on = array_namespace(values), device(values)
    double = xp.__array_namespace_info__().dtypes(device=on).get("float64", xp.float32)
    # What each sample costs above the minimum, which alone may be too large to be summed.
    above = xp.astype(values, double) - plan.loss_min
    above = xp.where(values <= plan.threshold, above, xp.zeros_like(above))
    capped = plan.n_pruned * plan.gamma if plan.n_pruned else 0.0
    return plan.loss_min + (float(xp.sum(above)) + capped) / plan.n


class _Call(NamedTuple):
    """The checked arguments of one call, as the backend takes them, and what the caller gets back."""

    losses: Any
    old: Any | None  # the weights, if they are to be read
    mu: float
    out: Any | None
    given_out: Any | None
    home: Home
    format: Format
    backend: Backend
    threads: int | None

    def reweight(self, rule: Rule) -> tuple[Any, Plan]:
        losses, old, mu, out, given, home, _, backend, threads = self  # once, not look-up by look-up
        if not hasattr(backend, "reweight"):
            plan = backend.plan(losses, rule, threads)
            return self.apply(plan), plan
        weights, plan = backend.reweight(losses, rule, old, mu, out, threads)
        if given is None:
            return arrays.hand_back(weights, home), plan
        arrays.mark_written(given, home)
        return given, plan

    def apply(self, plan: Plan) -> Any:
        into = self.out
        if into is None and self.home.on_host:  # elsewhere the backend makes its own
            into = np.empty(len(self.losses), self.format.weights)
        computed = self.backend.apply(plan, self.losses, self.old, self.mu, into, self.threads)
        if self.given_out is None:
            return arrays.hand_back(computed, self.home)
        arrays.mark_written(self.given_out, self.home)
        return self.given_out


def _check(
    losses: Any, weights: Any | None, mu: float, out: Any | None, backend: str | None, threads: int | None
) -> _Call:
    step = check_mu(mu)
    if threads is not None:
        threads = check_threads(threads)
    if backend is None and (ordinary := arrays.ordinary(losses, weights, out)) is not None:
        c, w, home, format = ordinary
        o = None if out is None else w
    elif any(map(is_dask_array, (losses, weights, out))):
        from . import dask_arrays  # which imports Dask

        c, w, home, format, blocks = dask_arrays.read(losses, weights, out, backend)
        return _Call(c, w if step < 1 else None, step, None, None, home, format, blocks, threads)
    else:
        c, w, o, home, format = _read_all(losses, weights, out, native=backend == "array_api")
    chosen = dispatch.choose(backend, on_host=home.on_host, on_cuda=home.on_cuda)
    return _Call(c, w if step < 1 else None, step, o, out, home, format, chosen, threads)


def _read_all(
    losses: Any, weights: Any | None, out: Any | None, *, native: bool
) -> tuple[Any, Any | None, Any | None, Home, Format]:
    c = arrays.read("losses", losses, native=native, list_type=np.float64)
    w = None if weights is None else arrays.read("weights", weights, native=native, list_type=c.format.weights)
    o = None if out is None else arrays.read("out", out, native=native)
    for operand in (w, o):
        if operand is not None:
            arrays.require_match(operand, c)
    if o is not None:
        arrays.require_writable(o, c, w)
    return c.array, None if w is None else w.array, None if o is None else o.array, c.home, c.format
