"""Parallel loops compiled by Numba: the CPU fallback where nothing else is compiled.

float16 and bfloat16 are widened to float32 first, which is exact.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from ..formats import BY_STORAGE, Array, widen
from ..plan import Counts, Plan, find_thresholds, refuse_losses, settle
from ..rule import Rule

# Not all of Numba's threading layers bear two Python threads launching parallel loops at once.
_one_launch = threading.Lock()


def is_available() -> bool:
    """Return whether Numba is installed."""
    return find_spec("numba") is not None


@cache
def _loops() -> ModuleType:
    if not is_available():
        raise ImportError("backend 'numba' needs Numba: pip install 'rrm-core[numba]'")
    from . import numba_loops

    return numba_loops


def plan(losses: Array, rule: Rule) -> Plan:
    """Return the plan for `losses`, a 1-D NumPy array."""
    loops = _loops()
    format, n = BY_STORAGE[losses.dtype], losses.size
    values = _values(losses)
    with _one_launch:
        n_nan, first_nan, n_low, first_low, n_inf, loss_min = loops.scan(values)
        refuse_losses(rule, n, n_nan=n_nan, first_nan=first_nan, n_low=n_low, first_low=first_low, n_inf=n_inf)
        found = find_thresholds(rule, format, n, loss_min, lambda rank: loops.smallest(values, min(rank, n - n_nan)))
        n_below, n_tied, n_recipients = loops.count(values, found.threshold, found.recipient_threshold)
    return settle(rule, format, n, n_nan, found, Counts(n - n_below - n_tied, n_tied, n_recipients))


def apply(plan: Plan, losses: Array, weights: Array | None, mu: float, out: Array) -> Array:
    """Write the new weights to `out` and return it; `weights` None stands for ones."""
    loops = _loops()
    T = out.dtype.type  # noqa: N806
    values, steps = _values(losses), T(mu) * np.array(plan.levels).astype(T)
    thresholds = np.array([plan.threshold, plan.recipient_threshold], values.dtype)
    with _one_launch:
        if mu == 1:
            loops.replace(values, out, thresholds, steps)
        elif weights is None:
            loops.replace(values, out, thresholds, T(1 - mu) + steps)
        else:
            loops.smooth(values, np.require(weights, requirements=["C", "A"]), out, thresholds, steps, T(1 - mu))
    return out


def count_foreign(plan: Plan, losses: Array) -> int:
    """Return how many losses lie below the plan's minimum, or are NaN though it has none."""
    values = _values(losses)
    with _one_launch:
        n_nan, *_ = _loops().scan(values)
        n_below, _, _ = _loops().count(values, plan.loss_min, plan.loss_min)
    return int(n_below) + (0 if plan.n_nan else int(n_nan))


def _values(losses: Array) -> Array:
    values = widen(losses)
    dtype = np.float32 if values.dtype == np.float16 else values.dtype
    return np.require(values, dtype, ["C", "A"])  # Numba compiles anew for memory that is neither
