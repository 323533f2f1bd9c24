"""Parallel loops compiled by Numba: the CPU fallback where nothing else is compiled.

A sample of the losses tells a narrow bracket that most likely holds the threshold. One pass over all of them counts
what lies outside and gathers what lies inside. The counts tell whether the sample was right, so that it may cost time,
but never the answer. float16 and bfloat16 are widened to float32 first, which is exact.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from ..definition.formats import BY_STORAGE, Array, Format, widen
from ..definition.plan import Counts, NonFiniteCounts, Plan, check_losses, find_thresholds, make_plan
from ..definition.rule import Rule

FEW = 65_536  # fewer losses than these aren't worth a sample: all are gathered
MARGIN = 4.0  # half the bracket's width, in standard deviations of what a sample says about a rank
CHANGED = "losses changed while they were read; don't write to them from another thread"

_one_launch = threading.Lock()


def _forget_lock() -> None:
    global _one_launch
    _one_launch = threading.Lock()


if hasattr(os, "register_at_fork"):  # another thread's lock would stay locked in the child
    os.register_at_fork(after_in_child=_forget_lock)


class Bracket(NamedTuple):
    """Two pivots, `low` and `high`; a share of the losses that likely lies between; and one of the losses, or inf."""

    low: float
    high: float
    share: float = 0.0
    lowest: float = math.inf


class Statistic(NamedTuple):
    """A number, and how many losses lie below it and on it."""

    value: float
    below: int
    at: int


class Survey(NamedTuple):
    """What one pass over the losses found."""

    faults: NonFiniteCounts
    minimum: Statistic
    low: Statistic
    between: Array | None  # the losses strictly between the pivots; None if they were more than expected
    high: float
    n_high: int

    def smallest(self, rank: int) -> Statistic | None:
        """Return the `rank`-th smallest loss, or None if it lies neither on the pivots nor between them."""
        upto_low = self.low.below + self.low.at
        if self.low.below < rank <= upto_low:
            return self.low
        k = rank - upto_low - 1
        if self.between is None or k < 0:
            return None
        upto_between = upto_low + self.between.size
        if k >= self.between.size:
            return Statistic(self.high, upto_between, self.n_high) if rank <= upto_between + self.n_high else None
        ordered = np.partition(self.between, k)
        below = int(np.count_nonzero(ordered[:k] < ordered[k]))
        at = k - below + int(np.count_nonzero(ordered[k:] == ordered[k]))
        return Statistic(float(ordered[k]) + 0.0, upto_low + below, at)  # never -0.0


def is_available() -> bool:
    """Return whether Numba is installed."""
    return find_spec("numba") is not None


@cache
def _loops() -> ModuleType:
    if not is_available():
        raise ImportError("backend 'numba' needs Numba: pip install 'rrm-core[numba]'")
    from . import numba_kernels as numba_loops

    return numba_loops


@contextmanager
def _launch(threads: int | None) -> Iterator[None]:
    """Allow parallel loops: at most so many threads, and one Python thread, for not all threading layers bear two."""
    loops = _loops()
    with _one_launch:
        usual = loops.get_num_threads()
        if threads is None or threads >= usual:
            yield
            return
        loops.set_num_threads(threads)
        try:
            yield
        finally:
            loops.set_num_threads(usual)


def plan(losses: Array, rule: Rule, threads: int | None) -> Plan:
    """Return the plan for `losses`, a 1-D NumPy array."""
    with _launch(threads):
        return _plan(_values(losses), rule, BY_STORAGE[losses.dtype])


def reweight(
    losses: Array, rule: Rule, weights: Array | None, mu: float, out: Array | None, threads: int | None
) -> tuple[Array, Plan]:
    """Plan, and return the new weights with the plan, in one call; in `out` if given."""
    values, format = _values(losses), BY_STORAGE[losses.dtype]
    new = np.empty(len(losses), format.weights) if out is None else out
    with _launch(threads):
        plan = _plan(values, rule, format)
        _apply(plan, values, weights, mu, new)
    return new, plan


def apply(plan: Plan, losses: Array, weights: Array | None, mu: float, out: Array, threads: int | None) -> Array:
    """Write the new weights to `out` and return it; `weights` None stands for ones."""
    with _launch(threads):
        _apply(plan, _values(losses), weights, mu, out)
    return out


def count_foreign(plan: Plan, losses: Array, threads: int | None) -> int:
    """Return how many losses lie below the plan's minimum, or are NaN though it has none."""
    with _launch(threads):
        seen = _survey(_values(losses), Bracket(plan.loss_min, plan.loss_min))
    return seen.low.below + (0 if plan.n_nan else seen.faults.n_nan)


def _plan(values: Array, rule: Rule, format: Format) -> Plan:
    n = values.size
    # The rank that the first pass looks for. Another pass is for a second rank, or for what gamma makes the threshold.
    sought = n - rule.quota(n) if rule.gamma is None else min(max(rule.recipient_rank(n), 1), n)
    seen = _survey(values, _bracket(values, sought))
    faults = seen.faults
    check_losses(rule, n, faults)
    n_valid = n - faults.n_nan
    ends = Statistic(-math.inf, 0, 0), Statistic(math.inf, n_valid - faults.n_pos_inf, faults.n_pos_inf)
    known = {x.value: x for x in (*ends, seen.minimum)}

    def smallest(rank: int) -> float:
        survey = seen if rank == sought else _survey(values, _bracket(values, rank))
        found = survey.smallest(min(rank, n_valid)) or _smallest(values, min(rank, n_valid))
        known[found.value] = found
        return found.value

    found = find_thresholds(rule, format, n, seen.minimum.value, smallest)
    t, r = (known.get(x) or _count(values, x) for x in (found.threshold, found.recipient_threshold))
    n_kept, n_recipients = t.below + t.at, r.below + r.at
    if n_kept == 0 or (n_recipients == 0 and rule.redistribute != "drop"):
        raise RuntimeError(CHANGED)
    return make_plan(rule, format, n, faults.n_nan, found, Counts(n - n_kept, t.at, n_recipients))


def _bracket(values: Array, rank: int) -> Bracket:
    """Return pivots around what is likely the `rank`-th smallest value, or the largest number if NaN leave too few."""
    n = values.size
    if n < FEW:
        return Bracket(-math.inf, math.inf, 1.0)
    size = int(n ** (2 / 3))  # so that sample and candidates grow alike
    sample = np.sort(_loops().draw(values, size))  # NaN last
    valid = size - int(np.count_nonzero(np.isnan(sample)))
    if not valid:
        return Bracket(math.inf, math.inf)
    centre = min(rank * size / n, valid)
    margin = MARGIN * math.sqrt(centre * (1 - centre / size)) + 2
    first, last = math.floor(centre - margin), math.ceil(centre + margin)
    low = float(sample[first]) if first >= 0 else -math.inf
    high = float(sample[last]) if last < valid else math.inf
    return Bracket(low, high, 2 * margin / size, float(sample[0]))


def _survey(values: Array, bracket: Bracket) -> Survey:
    loops = _loops()
    T, chunks = values.dtype.type, loops.get_num_threads()  # noqa: N806
    low, high, share, lowest = bracket
    # Twice what is likely, since chunks differ. Memory is touched only as far as candidates reach.
    room = int(2 * share * values.size / chunks) + 2 * loops.BLOCK if low < high else 0
    candidates = np.empty((chunks, room), values.dtype)
    counts, lows = loops.scan(values, chunks, T(low), T(high), T(lowest), candidates)
    lowest = lows.min()
    n_lowest = int(counts[lows == lowest, -1].sum())
    first_nan, first_low = counts[:, :2].min(axis=0).tolist()
    n_nan, n_low, n_inf, below, upto, n_high, full = counts[:, 2:9].sum(axis=0).tolist()
    return Survey(
        NonFiniteCounts(n_nan, first_nan, n_low, first_low, n_inf),
        Statistic(float(lowest) + 0.0, 0, n_lowest),  # never -0.0, here and below
        Statistic(low + 0.0, below, upto - below),
        None if full else np.concatenate([row[:m] for row, m in zip(candidates, counts[:, 9], strict=True)]),
        high + 0.0,
        n_high,
    )


def _count(values: Array, value: float) -> Statistic:
    return _survey(values, Bracket(value, value)).low


def _smallest(values: Array, rank: int) -> Statistic:
    """Return the `rank`-th smallest value where the sample misled."""
    found = _count(values, _loops().smallest(values, rank))
    if not found.below < rank <= found.below + found.at:
        raise RuntimeError(CHANGED)
    return found


def _apply(plan: Plan, values: Array, weights: Array | None, mu: float, out: Array) -> None:
    loops, chunks = _loops(), _loops().get_num_threads()
    T = out.dtype.type  # noqa: N806
    steps = T(mu) * np.array(plan.levels).astype(T)
    thresholds = tuple(np.array([plan.threshold, plan.recipient_threshold], values.dtype))
    new = out if out.flags.carray else np.empty(out.shape, out.dtype)
    if mu == 1:
        loops.replace(values, new, chunks, thresholds, tuple(steps))
    elif weights is None:
        loops.replace(values, new, chunks, thresholds, tuple(T(1 - mu) + steps))
    else:
        loops.smooth(values, _plain(weights), new, chunks, thresholds, tuple(steps), T(1 - mu))
    if new is not out:
        out[...] = new


def _values(losses: Array) -> Array:
    values = widen(losses)
    return _plain(values, np.float32 if values.dtype == np.float16 else None)


def _plain(array: Array, dtype: Any = None) -> Array:
    """Return contiguous, aligned memory, marked as read-only: for any other kind Numba would compile anew."""
    plain = np.require(array, dtype, ["C", "A"]).view()
    plain.flags.writeable = False
    return plain
