"""Any framework and device with no kernel of ours: array-API operations where the array lives.

Only the numbers of the plan come to the host. The price is a sort.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ..definition.formats import BY_NAME
from ..definition.plan import Counts, NonFiniteCounts, Plan, check_losses, find_thresholds, make_plan
from ..definition.rule import Rule


def is_available() -> bool:
    """Return True: array-api-compat is a dependency."""
    return True


def plan(losses: Any, rule: Rule, threads: int | None = None) -> Plan:  # noqa: ARG001
    """Return the plan for `losses`, a 1-D array of any array-API framework."""
    xp, n = array_namespace(losses), losses.shape[0]
    format = BY_NAME[dtype_name(losses)]

    def count(mask: Any) -> int:
        return int(xp.count_nonzero(mask))

    def first(mask: Any) -> int:
        return int(xp.argmax(xp.astype(mask, xp.uint8)))

    nan, low, high = xp.isnan(losses), losses == -math.inf, losses == math.inf
    n_nan, n_low = count(nan), count(low)
    non_finite = NonFiniteCounts(
        n_nan=n_nan,
        first_nan=first(nan) if n_nan else 0,
        n_neg_inf=n_low,
        first_neg_inf=first(low) if n_low else 0,
        n_pos_inf=count(high),
    )
    check_losses(rule, n, non_finite)
    # As +inf the NaN stand behind every loss, and no rank below reaches them.
    ranked = xp.sort(xp.where(nan, xp.full_like(losses, math.inf), losses))

    def smallest(rank: int) -> float:
        return float(ranked[min(rank, n - n_nan) - 1]) + 0.0

    found = find_thresholds(rule, format, n, smallest(1), smallest)
    n_tied = count(losses == found.threshold)
    n_pruned = n - count(losses < found.threshold) - n_tied
    n_recipients = count(losses <= found.recipient_threshold)
    return make_plan(rule, format, n, n_nan, found, Counts(n_pruned, n_tied, n_recipients))


def apply(
    plan: Plan,
    losses: Any,
    weights: Any | None,
    mu: float,
    out: Any | None,
    threads: int | None = None,  # noqa: ARG001
) -> Any:
    """Return the new weights, in `out` if given; `weights` None stands for ones."""
    xp, on = array_namespace(losses), device(losses)
    weights_type = BY_NAME[plan.dtype].weights
    dtype = getattr(xp, weights_type.name)

    def constant(value: Any) -> Any:
        return xp.asarray(float(value), dtype=dtype, device=on)

    b = weights_type.type(mu)
    # b * level is one rounded product, the same for every sample on that level.
    pruned, tied, kept, tied_recipient, kept_recipient = (
        constant(b * level) for level in np.array(plan.levels).astype(weights_type)
    )
    below, at = losses < plan.threshold, losses == plan.threshold
    new = xp.where(
        losses <= plan.recipient_threshold,
        xp.where(below, kept_recipient, tied_recipient),
        xp.where(below, kept, xp.where(at, tied, pruned)),
    )
    if mu != 1:
        a = constant(weights_type.type(1 - mu))
        new = (a if weights is None else a * weights) + new
    if out is None:
        return new
    out[...] = new
    return out


def count_foreign(plan: Plan, losses: Any, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though it has none."""
    xp = array_namespace(losses)
    legal = losses >= plan.loss_min
    return int(xp.count_nonzero(~(legal | xp.isnan(losses) if plan.n_nan else legal)))


def dtype_name(array: Any) -> str:
    """Return the bare name of an array's type: ``"float32"`` for ``torch.float32`` and for NumPy's alike."""
    return str(array.dtype).rpartition(".")[2]
