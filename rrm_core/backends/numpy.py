"""The reference: the definition of the answer, plain and short."""

from __future__ import annotations

import math

import numpy as np

from ..formats import BY_STORAGE, Array, widen
from ..plan import Counts, Plan, find_thresholds, refuse_losses, settle
from ..rule import Rule


def is_available() -> bool:
    """Return True: NumPy is always there."""
    return True


def plan(losses: Array, rule: Rule, threads: int | None = None) -> Plan:  # noqa: ARG001
    """Return the plan for `losses`, a 1-D NumPy array."""
    format, values, n = BY_STORAGE[losses.dtype], widen(losses), losses.size
    nan, low = np.isnan(values), values == -math.inf
    n_nan = int(np.count_nonzero(nan))
    refuse_losses(
        rule,
        n,
        n_nan=n_nan,
        first_nan=int(nan.argmax()),
        n_low=int(np.count_nonzero(low)),
        first_low=int(low.argmax()),
        n_inf=int(np.count_nonzero(values == math.inf)),
    )
    ranked = values[~nan] if n_nan else values

    def smallest(rank: int) -> float:
        k = min(rank, ranked.size) - 1
        return float(np.partition(ranked, k)[k]) + 0.0  # never -0.0: which zero comes first is nobody's business

    loss_min = float(ranked.min()) + 0.0
    found = find_thresholds(rule, format, n, loss_min, smallest)
    n_tied = int(np.count_nonzero(values == found.threshold))
    n_pruned = n - int(np.count_nonzero(values < found.threshold)) - n_tied
    n_recipients = int(np.count_nonzero(values <= found.recipient_threshold))
    return settle(rule, format, n, n_nan, found, Counts(n_pruned, n_tied, n_recipients))


def apply(
    plan: Plan,
    losses: Array,
    weights: Array | None,
    mu: float,
    out: Array,
    threads: int | None = None,  # noqa: ARG001
) -> Array:
    """Write the new weights to `out` and return it; `weights` None stands for ones."""
    pruned, tied, kept, tied_recipient, kept_recipient = np.array(plan.levels).astype(out.dtype)
    values = widen(losses)
    below, at = values < plan.threshold, values == plan.threshold
    target = np.where(
        values <= plan.recipient_threshold,
        np.where(below, kept_recipient, tied_recipient),
        np.where(below, kept, np.where(at, tied, pruned)),
    )
    if mu == 1:
        out[...] = target
    else:
        a, b = out.dtype.type(1 - mu), out.dtype.type(mu)
        out[...] = a * (np.ones_like(out) if weights is None else weights) + b * target
    return out


def count_foreign(plan: Plan, losses: Array, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though it has none."""
    values = widen(losses)
    legal = (values >= plan.loss_min) | (np.isnan(values) & (plan.n_nan > 0))
    return int(np.count_nonzero(~legal))
