"""The compiled CPU backend: the extension module `rrm_core._cpu`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from .._arguments import MAX_THREADS
from ..definition.formats import BY_STORAGE, PLAIN, Array
from ..definition.group_counting import GroupPass
from ..definition.group_numbers import GroupNumbers
from ..definition.old_weights import InvalidWeights
from ..definition.plan import Plan, plan_from_kernel
from ..definition.rule import Rule, make_rule
from .cpp_groups import GroupedLosses
from .extension import load_extension

HOW_TO_BUILD = "build it with GCC or Clang, from a checkout: RRM_REQUIRE_COMPILED=1 pip install -e ."


def check_available() -> None:
    """Raise an ImportError unless the extension was built for these Python files and can be loaded."""
    _extension()


@cache
def _extension() -> ModuleType:
    return load_extension("cpp", "rrm_core._cpu", HOW_TO_BUILD)


def instruction_sets() -> tuple[str, str]:
    """Return the names of the instruction set in use and of the best one that the processor has."""
    used, best = _extension().instruction_sets()
    return str(used), str(best)


def samples_per_thread() -> int:
    """Return the number of samples from which another thread is started."""
    return int(_extension().tuning()["samples_per_thread"])


@cache
def default_threads() -> int:
    """Return OMP_NUM_THREADS or, without it, the number of processors that this process may use."""
    requested = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if requested.isdecimal() and int(requested) > 0:
        return min(int(requested), MAX_THREADS)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def plan(losses: Array, rule: Rule, threads: int | None) -> Plan:
    """Return the plan for `losses`, a 1-D NumPy array."""
    return _reweight(losses, rule, None, 1.0, None, threads)[0]


def reweight(
    losses: Array, rule: Rule, old_weights: Array | None, mu: float, out: Array | None, threads: int | None
) -> tuple[Array, Plan, InvalidWeights | None]:
    """Return the new weights, in `out` if given, the plan, and the invalid old weights."""
    if out is None:
        new = np.empty(len(losses), BY_STORAGE[losses.dtype].weights)
        return new, *_reweight(losses, rule, old_weights, mu, new, threads)
    if out.flags.num & PLAIN == PLAIN:
        return out, *_reweight(losses, rule, old_weights, mu, out, threads)
    new = np.empty(out.shape, out.dtype)
    plan, invalid = _reweight(losses, rule, old_weights, mu, new, threads)
    out[...] = new
    return out, plan, invalid


def are_plain(losses: Array, old_weights: Array | None, out: Array | None) -> bool:
    """Return whether the kernel can use these arrays as they are."""
    return bool(_extension().are_plain(losses, old_weights, out))


def reweight_plain(
    losses: Array,
    parameters: tuple[Any, ...],
    old_weights: Array | None,
    mu: float,
    out: Array | None,
    threads: int | None,
) -> tuple[Array, Plan, InvalidWeights | None] | None:
    """Return what `reweight` returns, for the rule with these parameters of `make_rule`.

    None if the arrays are not plain, or the parameters are invalid: the caller raises the error that names the first
    invalid argument.
    """
    n = losses.size
    try:
        rule, kernel_rule = _rules(n, *parameters)
    except (TypeError, ValueError):
        return None
    threads = threads or default_threads()
    result = _extension().reweight_plain(losses, kernel_rule, mu, old_weights, out, threads)
    if result is None:
        return None
    new, (non_finite, outcome, invalid) = result
    plan = plan_from_kernel(rule, BY_STORAGE[losses.dtype], n, non_finite, outcome)
    return new, plan, None if invalid is None else InvalidWeights(*invalid)


def apply(
    plan: Plan, losses: Array, old_weights: Array | None, mu: float, out: Array, threads: int | None
) -> tuple[Array, InvalidWeights | None]:
    """Write the new weights to `out`; return it and the invalid old weights. `old_weights` None stands for ones."""
    new = out if out.flags.num & PLAIN == PLAIN else np.empty(out.shape, out.dtype)
    invalid = _extension().apply(
        _plain(losses),
        BY_STORAGE[losses.dtype].code,
        plan.threshold,
        plan.recipient_threshold,
        plan.levels,
        mu,
        None if old_weights is None else _plain(old_weights),
        new,
        threads or default_threads(),
    )
    if new is not out:
        out[...] = new
    return out, None if invalid is None else InvalidWeights(*invalid)


def count_foreign(plan: Plan, losses: Array, threads: int | None) -> int:
    """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""
    code = BY_STORAGE[losses.dtype].code
    threads = threads or default_threads()
    return int(_extension().count_foreign(_plain(losses), code, plan.loss_min, plan.n_nan > 0, threads))


def grouped_losses(losses: Array, groups: GroupNumbers, threads: int | None) -> GroupedLosses:
    """Return the losses by group."""
    return GroupedLosses(_extension(), _plain(losses), groups, threads or default_threads())


def count_first_pass(losses: Array, first: int, counts: Array, threads: int | None) -> None:
    """Add the losses to the counts of the first pass; `first` is the index of the first loss."""
    code = BY_STORAGE[losses.dtype].code
    _extension().count_first_pass(_plain(losses), code, first, counts, threads or default_threads())


def count_pass(
    losses: Array,
    ranges: Sequence[tuple[int, int, int]],
    key_memory: Sequence[Array],
    pivots: Sequence[int],
    counts: Array,
    threads: int | None,
) -> None:
    """Add the losses to the counts of a later pass; for the parameters see `count_pass` in `numpy.py`."""
    code = BY_STORAGE[losses.dtype].code
    threads = threads or default_threads()
    _extension().count_pass(_plain(losses), code, ranges, key_memory, pivots, counts, threads)


def checksum(losses: Array) -> int:
    """Return the sum of the losses' words, modulo 2**32."""
    return int(_extension().checksum(_plain(losses), BY_STORAGE[losses.dtype].code))


def count_groups(
    losses: Array,
    groups: Array,
    first: int,
    group_pass: GroupPass,
    counts: Array,
    threads: int | None,  # noqa: ARG001
) -> None:
    """Add the losses to the counts of a pass with groups; for the parameters see `numpy_group_counting.py`.

    One thread counts, since each would need memory of its own for the counts.
    """
    format = BY_STORAGE[losses.dtype]
    _extension().count_groups(
        _plain(losses),
        format.code,
        groups,
        first,
        group_pass.is_first,
        group_pass.bits,
        group_pass.shift_of(format),
        group_pass.own,
        group_pass.of_all,
        group_pass.pivots,
        counts,
    )


def group_checksum(losses: Array, groups: Array) -> int:
    """Return the checksum of losses with groups; see `numpy_group_counting.py`."""
    return int(_extension().group_checksum(_plain(losses), BY_STORAGE[losses.dtype].code, groups))


def _reweight(
    losses: Array, rule: Rule, old_weights: Array | None, mu: float, out: Array | None, threads: int | None
) -> tuple[Plan, InvalidWeights | None]:
    format = BY_STORAGE[losses.dtype]
    n = len(losses)
    non_finite, outcome, invalid = _extension().reweight(
        _plain(losses),
        format.code,
        _kernel_rule(rule, n),
        mu,
        None if old_weights is None else _plain(old_weights),
        out,
        threads or default_threads(),
    )
    plan = plan_from_kernel(rule, format, n, non_finite, outcome)
    return plan, None if invalid is None else InvalidWeights(*invalid)


@lru_cache(maxsize=64)
def _kernel_rule(rule: Rule, n: int) -> Any:
    """Return the rule for `n` samples as an object of the extension."""
    return _extension().Rule(*rule.ranks(n))


@lru_cache(maxsize=64, typed=True)
def _rules(n: int, *parameters: Any) -> tuple[Rule, Any]:
    """Return the rule with these parameters of `make_rule`, and `_kernel_rule` of it: one search instead of two."""
    rule = make_rule(*parameters)
    return rule, _kernel_rule(rule, n)


def _plain(array: Array) -> Array:
    """Return contiguous, aligned memory: the array itself if it is that, else a copy."""
    return array if array.flags.num & PLAIN == PLAIN else np.require(array, requirements=["C", "A"])
