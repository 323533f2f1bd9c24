"""The reference backend: the definition of the result in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..definition.counting import BIN_BITS, BINS, FirstPassCounts, PassCounts
from ..definition.formats import BY_STORAGE, Array, widen
from ..definition.plan import Counts, NonFiniteCounts, Plan, check_losses, find_thresholds, make_plan
from ..definition.rule import Rule


def is_available() -> bool:
    """Return True: NumPy is a dependency."""
    return True


def plan(losses: Array, rule: Rule, threads: int | None = None) -> Plan:  # noqa: ARG001
    """Return the plan for `losses`, a 1-D NumPy array."""
    format = BY_STORAGE[losses.dtype]
    values = widen(losses)
    n = losses.size
    is_nan = np.isnan(values)
    is_neg_inf = values == -math.inf
    n_nan = int(np.count_nonzero(is_nan))
    non_finite = NonFiniteCounts(
        n_nan=n_nan,
        first_nan=int(is_nan.argmax()),
        n_neg_inf=int(np.count_nonzero(is_neg_inf)),
        first_neg_inf=int(is_neg_inf.argmax()),
        n_pos_inf=int(np.count_nonzero(values == math.inf)),
    )
    check_losses(rule, n, non_finite)
    ranked = values[~is_nan] if n_nan else values

    def smallest(rank: int) -> float:
        k = min(rank, ranked.size) - 1
        # Adding 0.0 normalises -0.0 to 0.0: the order of the two zeros is unspecified.
        return float(np.partition(ranked, k)[k]) + 0.0

    loss_min = float(ranked.min()) + 0.0
    thresholds = find_thresholds(rule, format, n, loss_min, smallest)
    n_tied = int(np.count_nonzero(values == thresholds.threshold))
    n_pruned = n - int(np.count_nonzero(values < thresholds.threshold)) - n_tied
    n_recipients = int(np.count_nonzero(values <= thresholds.recipient_threshold))
    return make_plan(rule, format, n, n_nan, thresholds, Counts(n_pruned, n_tied, n_recipients))


def apply(
    plan: Plan,
    losses: Array,
    old_weights: Array | None,
    mu: float,
    out: Array,
    threads: int | None = None,  # noqa: ARG001
) -> Array:
    """Write the new weights to `out` and return it; `old_weights` None stands for ones."""
    pruned, tied, kept, tied_recipient, kept_recipient = np.array(plan.levels).astype(out.dtype)
    values = widen(losses)
    below = values < plan.threshold
    equal = values == plan.threshold
    target = np.where(
        values <= plan.recipient_threshold,
        np.where(below, kept_recipient, tied_recipient),
        np.where(below, kept, np.where(equal, tied, pruned)),
    )
    if mu == 1:
        out[...] = target
    else:
        a = out.dtype.type(1 - mu)
        b = out.dtype.type(mu)
        old = np.ones_like(out) if old_weights is None else old_weights
        out[...] = a * old + b * target
    return out


def count_foreign(plan: Plan, losses: Array, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""
    values = widen(losses)
    possible = (values >= plan.loss_min) | (np.isnan(values) & (plan.n_nan > 0))
    return int(np.count_nonzero(~possible))


def count_first_pass(losses: Array, first: int, counts: Array, threads: int | None = None) -> FirstPassCounts:  # noqa: ARG001
    """Add the losses to `counts`, by the leading 16 bits of their keys; `first` is the index of the first loss."""
    values = widen(losses)
    keys = _keys(losses)
    nan_indices = np.flatnonzero(np.isnan(values))
    neg_inf_indices = np.flatnonzero(values == -math.inf)
    result = FirstPassCounts(
        min_key=int(keys.min()),
        first_nan=first + int(nan_indices[0]) if nan_indices.size else -1,
        first_neg_inf=first + int(neg_inf_indices[0]) if neg_inf_indices.size else -1,
        checksum=checksum(losses),
    )
    # Last: if memory runs out before, nothing has been counted.
    counts += np.bincount((keys >> (8 * keys.itemsize - BIN_BITS)).astype(np.intp), minlength=BINS)
    return result


def count_pass(
    losses: Array,
    ranges: Sequence[tuple[int, int, int]],
    buffers: Sequence[Array],
    pivots: Sequence[int],
    threads: int | None = None,  # noqa: ARG001
) -> PassCounts:
    """Count the losses in at most two ranges, or collect their keys; and those below and at each of two pivots.

    An array of `buffers` holds the counts of the range's bins if its type is signed, else it receives the keys.
    """
    keys = _keys(losses)
    n_in_range = []
    for (lowest, highest, shift), target in zip(ranges, buffers, strict=True):
        inside = keys[(keys >= lowest) & (keys <= highest)]
        n_in_range.append(inside.size)
        if target.dtype.kind == "u":
            target[: inside.size] = inside[: target.size]
        else:
            bins = (inside - keys.dtype.type(lowest)) >> shift
            target += np.bincount(bins.astype(np.intp), minlength=BINS)
    pivot_counts = [(int(np.count_nonzero(keys < pivot)), int(np.count_nonzero(keys == pivot))) for pivot in pivots]
    return PassCounts(checksum(losses), n_in_range, pivot_counts)


def checksum(losses: Array) -> int:
    """Return the sum of the losses' words, modulo 2**32."""
    words = np.ascontiguousarray(losses).view(np.uint16 if losses.itemsize == 2 else np.uint32)
    return int(words.sum(dtype=np.uint64)) & 0xFFFF_FFFF


def _keys(losses: Array) -> Array:
    """Return the order-preserving keys of losses, as in `csrc/ordered_key.h`."""
    unsigned = np.dtype(f"u{losses.itemsize}")
    bits = np.ascontiguousarray(losses).view(unsigned)
    sign = unsigned.type(1 << (8 * unsigned.itemsize - 1))
    keys = np.where(bits > sign, ~bits, bits | sign)
    keys[np.isnan(widen(losses))] = np.iinfo(unsigned).max
    return keys
