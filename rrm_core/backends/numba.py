"""The Numba backend: parallel loops for hosts without the compiled extension.

A sample of the losses gives a narrow bracket that most likely contains the threshold. One pass over all losses counts
those outside and collects those inside. The counts show whether the bracket contained the threshold; if it did not,
the call takes longer, but the result is the same. float16 and bfloat16 are first widened to float32, which is exact.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..definition.float_errors import ignore_float_errors
from ..definition.formats import BY_STORAGE, Array, Format, widen
from ..definition.group_numbers import GroupNumbers
from ..definition.old_weights import InvalidWeights
from ..definition.plan import Counts, NonFiniteCounts, Plan, check_losses, find_thresholds, make_plan
from ..definition.rule import Rule
from .numba_arrays import merge_chunks, plain
from .numba_groups import GroupedLosses
from .numba_runtime import exclusive, kernels, n_chunks, run

MIN_SAMPLED = 65_536  # with fewer losses no sample is taken: all of them are collected
MARGIN = 4.0  # half the bracket's width, in standard deviations of the sample's estimate of a rank
CHANGED = "losses changed while they were read; don't write to them from another thread"


class Bracket(NamedTuple):
    """Two pivots around a wanted order statistic.

    Attributes
    ----------
    low, high : float
    share : float
        Estimated share of the losses between the pivots.
    lowest : float
        One of the losses, a first guess of the minimum; inf without one.
    """

    low: float
    high: float
    share: float = 0.0
    lowest: float = math.inf


class OrderStatistic(NamedTuple):
    """A loss, and the number of losses below it and equal to it."""

    value: float
    n_below: int
    n_equal: int


class ScanResult(NamedTuple):
    """Result of one pass over the losses.

    Attributes
    ----------
    non_finite : NonFiniteCounts
    minimum : OrderStatistic
    low : OrderStatistic
        The lower pivot.
    between : array or None
        The losses strictly between the pivots; None if there were more than expected.
    high : float
        The upper pivot.
    n_high : int
        Number of losses equal to it.
    """

    non_finite: NonFiniteCounts
    minimum: OrderStatistic
    low: OrderStatistic
    between: Array | None
    high: float
    n_high: int

    def smallest(self, rank: int) -> OrderStatistic | None:
        """Return the `rank`-th smallest loss, or None if it lies neither on the pivots nor between them."""
        n_up_to_low = self.low.n_below + self.low.n_equal
        if self.low.n_below < rank <= n_up_to_low:
            return self.low
        k = rank - n_up_to_low - 1
        if self.between is None or k < 0:
            return None
        n_below_high = n_up_to_low + self.between.size
        if k >= self.between.size:
            if rank <= n_below_high + self.n_high:
                return OrderStatistic(self.high, n_below_high, self.n_high)
            return None
        ordered = np.partition(self.between, k)
        value = ordered[k]
        n_below = int(np.count_nonzero(ordered[:k] < value))
        n_equal = k - n_below + int(np.count_nonzero(ordered[k:] == value))
        # Adding 0.0 normalises -0.0 to 0.0, here and below.
        return OrderStatistic(float(value) + 0.0, n_up_to_low + n_below, n_equal)


def check_available() -> None:
    """Raise an ImportError unless Numba is installed and compiles functions."""
    kernels()


@ignore_float_errors
def plan(losses: Array, rule: Rule, threads: int | None) -> Plan:
    """Return the plan for `losses`, a 1-D NumPy array."""
    with exclusive(threads):
        return _plan(_values(losses), rule, BY_STORAGE[losses.dtype])


@ignore_float_errors
def reweight(
    losses: Array, rule: Rule, old_weights: Array | None, mu: float, out: Array | None, threads: int | None
) -> tuple[Array, Plan, InvalidWeights | None]:
    """Return the new weights, in `out` if given, the plan, and the invalid old weights."""
    values = _values(losses)
    format = BY_STORAGE[losses.dtype]
    new = np.empty(len(losses), format.weights) if out is None else out
    with exclusive(threads):
        plan = _plan(values, rule, format)
        invalid = _apply(plan, values, old_weights, mu, new)
    return new, plan, invalid


@ignore_float_errors
def apply(
    plan: Plan, losses: Array, old_weights: Array | None, mu: float, out: Array, threads: int | None
) -> tuple[Array, InvalidWeights | None]:
    """Write the new weights to `out`; return it and the invalid old weights. `old_weights` None stands for ones."""
    with exclusive(threads):
        invalid = _apply(plan, _values(losses), old_weights, mu, out)
    return out, invalid


@ignore_float_errors
def count_foreign(plan: Plan, losses: Array, threads: int | None) -> int:
    """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""
    with exclusive(threads):
        result = _scan(_values(losses), Bracket(plan.loss_min, plan.loss_min))
    if plan.n_nan:
        return result.low.n_below
    return result.low.n_below + result.non_finite.n_nan


def grouped_losses(losses: Array, groups: GroupNumbers, threads: int | None) -> GroupedLosses:
    """Return the losses by group."""
    return GroupedLosses(_values(losses), groups, threads)


def _plan(values: Array, rule: Rule, format: Format) -> Plan:
    n = values.size
    # The rank in whose bracket the first pass collects losses. Under the gamma rule the threshold has no rank.
    first_rank = n - rule.quota(n)
    if rule.gamma is not None:
        first_rank = min(max(rule.recipient_rank(n), 1), n)
    first = _scan(values, _bracket(values, first_rank))
    check_losses(rule, n, first.non_finite)
    n_nan = first.non_finite.n_nan
    n_pos_inf = first.non_finite.n_pos_inf
    n_valid = n - n_nan
    statistics = {
        -math.inf: OrderStatistic(-math.inf, 0, 0),
        math.inf: OrderStatistic(math.inf, n_valid - n_pos_inf, n_pos_inf),
        first.minimum.value: first.minimum,
    }

    def smallest(rank: int) -> float:
        result = first if rank == first_rank else _scan(values, _bracket(values, rank))
        rank = min(rank, n_valid)
        statistic = result.smallest(rank) or _smallest(values, rank)
        statistics[statistic.value] = statistic
        return statistic.value

    thresholds = find_thresholds(rule, format, n, first.minimum.value, smallest)
    threshold, recipients = (
        statistics.get(x) or _count(values, x) for x in (thresholds.threshold, thresholds.recipient_threshold)
    )
    n_kept = threshold.n_below + threshold.n_equal
    n_recipients = recipients.n_below + recipients.n_equal
    if n_kept == 0 or (n_recipients == 0 and rule.redistribute != "drop"):
        raise RuntimeError(CHANGED)
    return make_plan(rule, format, n, n_nan, thresholds, Counts(n - n_kept, threshold.n_equal, n_recipients))


def _bracket(values: Array, rank: int) -> Bracket:
    """Return pivots that most likely enclose the `rank`-th smallest value, or the largest number if it may be NaN."""
    n = values.size
    if n < MIN_SAMPLED:
        return Bracket(-math.inf, math.inf, 1.0)
    # With this size the sample and the expected number of candidates grow alike.
    size = int(n ** (2 / 3))
    # np.sort puts NaN last.
    sample = np.sort(kernels().draw_sample(values, size))
    n_valid = size - int(np.count_nonzero(np.isnan(sample)))
    if not n_valid:
        return Bracket(math.inf, math.inf)
    centre = min(rank * size / n, n_valid)
    margin = MARGIN * math.sqrt(centre * (1 - centre / size)) + 2
    first = math.floor(centre - margin)
    last = math.ceil(centre + margin)
    low = float(sample[first]) if first >= 0 else -math.inf
    high = float(sample[last]) if last < n_valid else math.inf
    return Bracket(low, high, 2 * margin / size, float(sample[0]))


def _scan(values: Array, bracket: Bracket) -> ScanResult:
    """Return what one pass over all values counts and collects."""
    module = kernels()
    T = values.dtype.type  # noqa: N806
    chunks = n_chunks()
    low, high, share, lowest = bracket
    # Room for twice the expected number, since chunks differ. Only the part that candidates fill is touched.
    room = int(2 * share * values.size / chunks) + 2 * module.BLOCK if low < high else 0
    candidates = np.empty((chunks, room), values.dtype)
    counts, minima = run(module.scan, values, chunks, T(low), T(high), T(lowest), candidates)
    minimum = minima.min()
    n_minimum = int(counts[minima == minimum, -1].sum())
    first_nan, first_neg_inf = counts[:, :2].min(axis=0).tolist()
    n_nan, n_neg_inf, n_pos_inf, n_below, n_up_to, n_high, n_full = counts[:, 2:9].sum(axis=0).tolist()
    between = None
    if not n_full:
        between = np.concatenate([row[:size] for row, size in zip(candidates, counts[:, 9], strict=True)])
    return ScanResult(
        NonFiniteCounts(n_nan, first_nan, n_neg_inf, first_neg_inf, n_pos_inf),
        OrderStatistic(float(minimum) + 0.0, 0, n_minimum),
        OrderStatistic(low + 0.0, n_below, n_up_to - n_below),
        between,
        high + 0.0,
        n_high,
    )


def _count(values: Array, value: float) -> OrderStatistic:
    return _scan(values, Bracket(value, value)).low


def _smallest(values: Array, rank: int) -> OrderStatistic:
    """Return the `rank`-th smallest value by radix selection: its bracket did not contain it."""
    statistic = _count(values, _radix_select(values, rank))
    if not statistic.n_below < rank <= statistic.n_below + statistic.n_equal:
        raise RuntimeError(CHANGED)
    return statistic


def _radix_select(values: Array, rank: int) -> float:
    """Return the `rank`-th smallest value, NaN ranking last, by radix selection in two passes over any values.

    Numba's integers widen to 64 bits and mixed signs become float64, therefore keys are uint64 throughout.
    """
    bits = values.view(f"u{values.dtype.itemsize}")
    module = kernels()
    chunks = n_chunks()
    infinity = np.uint64(np.array(np.inf, values.dtype).view(bits.dtype))
    counts = run(module.count_digits, bits, chunks, infinity)
    cumulative = counts.sum(axis=0).cumsum()
    digit = int(np.searchsorted(cumulative, rank))
    ends = counts[:, digit].cumsum()
    candidates = np.empty(ends[-1], bits.dtype)
    starts = ends - counts[:, digit]
    run(module.collect_keys, bits, chunks, infinity, np.uint64(digit), starts, ends, candidates)
    k = rank - int(cumulative[digit] - candidates.size) - 1
    key = int(np.partition(candidates, k)[k])
    sign = 1 << (8 * bits.itemsize - 1)
    pattern = key ^ sign if key & sign else key ^ (2 * sign - 1)
    return float(np.array(pattern, bits.dtype).view(values.dtype))


def _apply(plan: Plan, values: Array, old_weights: Array | None, mu: float, out: Array) -> InvalidWeights | None:
    module = kernels()
    chunks = n_chunks()
    T = out.dtype.type  # noqa: N806
    steps = T(mu) * np.array(plan.levels).astype(T)
    thresholds = tuple(np.array([plan.threshold, plan.recipient_threshold], values.dtype))
    new = out if out.flags.carray else np.empty(out.shape, out.dtype)
    invalid = None
    if mu == 1:
        run(module.replace, values, new, chunks, thresholds, tuple(steps))
    elif old_weights is None:
        run(module.replace, values, new, chunks, thresholds, tuple(T(1 - mu) + steps))
    else:
        counts, first_values = run(
            module.smooth, values, plain(old_weights), new, chunks, thresholds, tuple(steps), T(1 - mu)
        )
        invalid = merge_chunks(counts, first_values)
    if new is not out:
        out[...] = new
    return invalid


def _values(losses: Array) -> Array:
    values = widen(losses)
    return plain(values, np.float32 if values.dtype == np.float16 else None)
