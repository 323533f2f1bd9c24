"""The compiled CPU kernel, `rrm_core._cpu`."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from ..formats import BY_STORAGE, Array
from ..plan import Counts, Plan, Thresholds, refuse_losses, settle
from ..rule import Rule


def is_available() -> bool:
    """Return whether the extension was built. One that is there but doesn't load raises its own error, on use."""
    return find_spec("rrm_core._cpu") is not None


@cache
def _extension() -> ModuleType:
    if not is_available():
        raise ImportError(
            "backend 'cpp' needs the compiled module rrm_core._cpu, which is not there; install a wheel, or build it "
            "with: pip install . (from a checkout, run Python outside it, or install it with: pip install -e .)"
        )
    from .. import _cpu

    return _cpu


def plan(losses: Array, rule: Rule) -> Plan:
    """Return the plan for `losses`, a 1-D NumPy array."""
    return _plan_and_apply(losses, rule, 1.0, None, None)


def reweight(losses: Array, rule: Rule, weights: Array | None, mu: float, out: Array) -> Plan:
    """Plan, and write the new weights to `out`, in one call."""
    if not out.flags.carray:
        new = np.empty(out.shape, out.dtype)
        plan = _plan_and_apply(losses, rule, mu, weights, new)
        out[...] = new
        return plan
    return _plan_and_apply(losses, rule, mu, weights, out)


def apply(plan: Plan, losses: Array, weights: Array | None, mu: float, out: Array) -> Array:
    """Write the new weights to `out` and return it; `weights` None stands for ones."""
    new = out if out.flags.carray else np.empty(out.shape, out.dtype)
    thresholds = (plan.loss_min, plan.threshold, plan.recipient_threshold)
    _extension().apply(_plain(losses), BY_STORAGE[losses.dtype].code, thresholds, plan.levels, mu, _plain(weights), new)
    if new is not out:
        out[...] = new
    return out


def count_foreign(plan: Plan, losses: Array) -> int:
    """Return how many losses lie below the plan's minimum, or are NaN though it has none."""
    code = BY_STORAGE[losses.dtype].code
    return int(_extension().count_foreign(_plain(losses), code, plan.loss_min, plan.n_nan > 0))


def _plan_and_apply(losses: Array, rule: Rule, mu: float, weights: Array | None, out: Array | None) -> Plan:
    cpu, format, n = _extension(), BY_STORAGE[losses.dtype], losses.size
    quota = rule.quota(n)
    policy = rule.redistribute if isinstance(rule.redistribute, str) else "recipients"
    question = cpu.Rule(
        n - quota if rule.gamma is None else 0,
        rule.gamma or 0.0,
        rule.recipient_rank(n),
        quota if rule.ties == "share" else 0,
        cpu.Redistribute[{"argmin": "recipients"}.get(policy, policy)],
        rule.nan == "prune",
    )
    faults, thresholds, counts = cpu.plan_and_apply(_plain(losses), format.code, question, mu, _plain(weights), out)
    n_nan, first_nan, n_low, first_low, n_inf = faults
    refuse_losses(rule, n, n_nan=n_nan, first_nan=first_nan, n_low=n_low, first_low=first_low, n_inf=n_inf)
    return settle(rule, format, n, n_nan, Thresholds(*thresholds), Counts(*counts))


def _plain(array: Array | None) -> Array | None:
    """Return contiguous, aligned memory: the array's own where it is that."""
    return None if array is None else np.require(array, requirements=["C", "A"])
