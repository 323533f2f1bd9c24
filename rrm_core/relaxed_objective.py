"""The optimal value of Rockafellian Relaxation: the relaxed expected loss."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace, device

from ._arguments import as_float
from .api import prepare_call
from .definition.float_errors import ignore_float_errors
from .definition.formats import widen
from .definition.rule import Rule


@ignore_float_errors
def objective(losses: Any, gamma: float) -> float:
    """Return the minimum over p of ``sum(p * losses) + gamma * d_TV(p, uniform)``, the relaxed expected loss.

    It equals ``mean(minimum(losses, min(losses) + gamma))``.

    Parameters
    ----------
    losses : array of shape (n,)
        As for `reweight`.
    gamma : float, at least 0
        Price of total variation, in units of the loss.

    Returns
    -------
    float
        The optimal value, summed in float64 if the device supports it. For a Dask array it is computed during the call.

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
    request = prepare_call(losses, None, 1.0, None, None, None)
    plan = request.plan(Rule(gamma=as_float("gamma", gamma)))
    values = request.losses
    if request.placement.on_host:
        values = widen(values)
    xp = array_namespace(values)
    dtypes = xp.__array_namespace_info__().dtypes(device=device(values))
    double = dtypes.get("float64", xp.float32)
    # Only the excess over the smallest loss is summed: a large minimum could overflow when summed n times.
    excess = xp.astype(values, double) - plan.loss_min
    excess = xp.where(values <= plan.threshold, excess, xp.zeros_like(excess))
    capped = plan.n_pruned * plan.gamma if plan.n_pruned else 0.0
    return plan.loss_min + (float(xp.sum(excess)) + capped) / plan.n
