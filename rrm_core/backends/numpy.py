"""The reference: the definition of the answer, plain and short."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..definition.counting import BIN_BITS, BINS, FirstPassCounts, PassCounts
from ..definition.formats import BY_STORAGE, Array, widen
from ..definition.plan import Counts, NonFiniteCounts, Plan, check_losses, find_thresholds, make_plan
from ..definition.rule import Rule


def is_available() -> bool:
    """Return True: NumPy is always there."""
    return True


def plan(losses: Array, rule: Rule, threads: int | None = None) -> Plan:  # noqa: ARG001
    """Return the plan for `losses`, a 1-D NumPy array."""
    format, values, n = BY_STORAGE[losses.dtype], widen(losses), losses.size
    nan, low = np.isnan(values), values == -math.inf
    n_nan = int(np.count_nonzero(nan))
    non_finite = NonFiniteCounts(
        n_nan=n_nan,
        first_nan=int(nan.argmax()),
        n_neg_inf=int(np.count_nonzero(low)),
        first_neg_inf=int(low.argmax()),
        n_pos_inf=int(np.count_nonzero(values == math.inf)),
    )
    check_losses(rule, n, non_finite)
    ranked = values[~nan] if n_nan else values

    def smallest(rank: int) -> float:
        k = min(rank, ranked.size) - 1
        return float(np.partition(ranked, k)[k]) + 0.0  # never -0.0: which zero comes first is nobody's business

    loss_min = float(ranked.min()) + 0.0
    found = find_thresholds(rule, format, n, loss_min, smallest)
    n_tied = int(np.count_nonzero(values == found.threshold))
    n_pruned = n - int(np.count_nonzero(values < found.threshold)) - n_tied
    n_recipients = int(np.count_nonzero(values <= found.recipient_threshold))
    return make_plan(rule, format, n, n_nan, found, Counts(n_pruned, n_tied, n_recipients))


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


def count_first_pass(losses: Array, first: int, counts: Array, threads: int | None = None) -> FirstPassCounts:  # noqa: ARG001
    """Count the losses, whose indices start at `first`, by the leading 16 bits of their keys: add them to `counts`."""
    values, keys = widen(losses), _keys(losses)
    nan, low = (np.flatnonzero(where) for where in (np.isnan(values), values == -math.inf))
    first_nan, first_low = (first + int(where[0]) if where.size else -1 for where in (nan, low))
    found = FirstPassCounts(int(keys.min()), first_nan, first_low, checksum(losses))
    # Last, since nothing shall be counted if memory runs out before.
    counts += np.bincount((keys >> (8 * keys.itemsize - BIN_BITS)).astype(np.intp), minlength=BINS)
    return found


def count_pass(
    losses: Array,
    intervals: Sequence[tuple[int, int, int]],
    memory: Sequence[Array],
    points: Sequence[int],
    threads: int | None = None,  # noqa: ARG001
) -> PassCounts:
    """Count the losses in two intervals at most, or keep their keys, and how all stand to two points."""
    keys, found = _keys(losses), []
    for (lowest, highest, shift), into in zip(intervals, memory, strict=True):
        inside = keys[(keys >= lowest) & (keys <= highest)]
        found.append(inside.size)
        if into.dtype.kind == "u":
            into[: inside.size] = inside[: into.size]
        else:
            into += np.bincount(((inside - keys.dtype.type(lowest)) >> shift).astype(np.intp), minlength=BINS)
    censuses = [(int(np.count_nonzero(keys < point)), int(np.count_nonzero(keys == point))) for point in points]
    return PassCounts(checksum(losses), found, censuses)


def checksum(losses: Array) -> int:
    """Return the sum of the losses' words, modulo 2**32."""
    words = np.ascontiguousarray(losses).view(np.uint16 if losses.itemsize == 2 else np.uint32)
    return int(words.sum(dtype=np.uint64)) & 0xFFFF_FFFF


def _keys(losses: Array) -> Array:
    """Return the order-preserving keys of losses, as `csrc/ordered_key.h` has them."""
    unsigned = np.dtype(f"u{losses.itemsize}")
    bits = np.ascontiguousarray(losses).view(unsigned)
    sign = unsigned.type(1 << (8 * unsigned.itemsize - 1))
    keys = np.where(bits > sign, ~bits, bits | sign)
    keys[np.isnan(widen(losses))] = np.iinfo(unsigned).max
    return keys
