"""The compiled CPU kernel, `rrm_core._cpu`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from ..definition.counting import FirstPassCounts, PassCounts
from ..definition.formats import BY_STORAGE, PLAIN, Array
from ..definition.plan import Plan, plan_from_kernel
from ..definition.rule import Rule


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


def instruction_sets() -> tuple[str, str]:
    """Return the names of the instruction set in use and of the best that the processor has."""
    used, best = _extension().instruction_sets()
    return str(used), str(best)


def samples_per_thread() -> int:
    """Return how many samples it takes for another thread to be worth starting."""
    return int(_extension().tuning()["samples_per_thread"])


@cache
def default_threads() -> int:
    """Return OMP_NUM_THREADS or, without it, the number of processors that this process may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if asked.isdecimal() and int(asked) > 0:
        return min(int(asked), 1 << 16)
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def plan(losses: Array, rule: Rule, threads: int | None) -> Plan:
    """Return the plan for `losses`, a 1-D NumPy array."""
    return _reweight(losses, rule, 1.0, None, None, threads)


def reweight(
    losses: Array, rule: Rule, weights: Array | None, mu: float, out: Array | None, threads: int | None
) -> tuple[Array, Plan]:
    """Plan, and return the new weights with the plan, in one call; in `out` if given."""
    if out is None:
        new = np.empty(len(losses), BY_STORAGE[losses.dtype].weights)
        return new, _reweight(losses, rule, mu, weights, new, threads)
    if out.flags.num & PLAIN == PLAIN:
        return out, _reweight(losses, rule, mu, weights, out, threads)
    new = np.empty(out.shape, out.dtype)
    plan = _reweight(losses, rule, mu, weights, new, threads)
    out[...] = new
    return out, plan


def apply(plan: Plan, losses: Array, weights: Array | None, mu: float, out: Array, threads: int | None) -> Array:
    """Write the new weights to `out` and return it; `weights` None stands for ones."""
    new = out if out.flags.num & PLAIN == PLAIN else np.empty(out.shape, out.dtype)
    _extension().apply(
        _plain(losses),
        BY_STORAGE[losses.dtype].code,
        plan.threshold,
        plan.recipient_threshold,
        plan.levels,
        mu,
        None if weights is None else _plain(weights),
        new,
        threads or default_threads(),
    )
    if new is not out:
        out[...] = new
    return out


def count_foreign(plan: Plan, losses: Array, threads: int | None) -> int:
    """Return how many losses lie below the plan's minimum, or are NaN though it has none."""
    code = BY_STORAGE[losses.dtype].code
    threads = threads or default_threads()
    return int(_extension().count_foreign(_plain(losses), code, plan.loss_min, plan.n_nan > 0, threads))


def count_first_pass(losses: Array, first: int, counts: Array, threads: int | None) -> FirstPassCounts:
    """Count the losses, whose indices start at `first`, by the leading 16 bits of their keys: add them to `counts`."""
    code = BY_STORAGE[losses.dtype].code
    threads = threads or default_threads()
    return FirstPassCounts(*_extension().count_first_pass(_plain(losses), code, first, counts, threads))


def count_pass(
    losses: Array,
    intervals: Sequence[tuple[int, int, int]],
    memory: Sequence[Array],
    points: Sequence[int],
    threads: int | None,
) -> PassCounts:
    """Count the losses in two intervals at most, or keep their keys, and how all stand to two points: `_cpu.pyi`."""
    code = BY_STORAGE[losses.dtype].code
    threads = threads or default_threads()
    return PassCounts(*_extension().count_pass(_plain(losses), code, intervals, memory, points, threads))


def checksum(losses: Array) -> int:
    """Return the sum of the losses' words, modulo 2**32."""
    return int(_extension().checksum(_plain(losses), BY_STORAGE[losses.dtype].code))


def _reweight(
    losses: Array, rule: Rule, mu: float, weights: Array | None, out: Array | None, threads: int | None
) -> Plan:
    format, n = BY_STORAGE[losses.dtype], len(losses)
    faults, found = _extension().reweight(
        _plain(losses),
        format.code,
        _question(rule, n),
        mu,
        None if weights is None else _plain(weights),
        out,
        threads or default_threads(),
    )
    return plan_from_kernel(rule, format, n, faults, found)


@lru_cache(maxsize=64)
def _question(rule: Rule, n: int) -> Any:
    """Return the rule as the extension knows it."""
    return _extension().Rule(*rule.ranks(n))


def _plain(array: Array) -> Array:
    """Return contiguous, aligned memory: the array's own where it is that."""
    return array if array.flags.num & PLAIN == PLAIN else np.require(array, requirements=["C", "A"])
