"""The reference backend: the definition of the result in plain NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..definition.counting import (
    BIN_BITS,
    BINS,
    CHECKSUM,
    HISTOGRAMS,
    MISSING,
    N_MINIMA,
    PIVOTS,
    RANGES,
    N,
    to_signed,
)
from ..definition.float_errors import ignore_float_errors
from ..definition.formats import BY_STORAGE, Array, widen
from ..definition.group_numbers import GroupNumbers
from ..definition.old_weights import InvalidWeights
from ..definition.plan import Counts, NonFiniteCounts, Plan, check_losses, find_thresholds, make_plan
from ..definition.rule import Rule
from .numpy_group_counting import count_groups as count_groups
from .numpy_group_counting import group_checksum as group_checksum
from .numpy_groups import GroupedLosses
from .numpy_keys import keys_of, nan_key
from .numpy_smoothing import smooth


def check_available() -> None:
    """Do nothing: NumPy is a dependency."""


@ignore_float_errors
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


@ignore_float_errors
def apply(
    plan: Plan,
    losses: Array,
    old_weights: Array | None,
    mu: float,
    out: Array,
    threads: int | None = None,  # noqa: ARG001
) -> tuple[Array, InvalidWeights | None]:
    """Write the new weights to `out`; return it and the invalid old weights. `old_weights` None stands for ones."""
    pruned, tied, kept, tied_recipient, kept_recipient = np.array(plan.levels).astype(out.dtype)
    values = widen(losses)
    below = values < plan.threshold
    equal = values == plan.threshold
    target = np.where(
        values <= plan.recipient_threshold,
        np.where(below, kept_recipient, tied_recipient),
        np.where(below, kept, np.where(equal, tied, pruned)),
    )
    return smooth(target, old_weights, mu, out)


@ignore_float_errors
def count_foreign(plan: Plan, losses: Array, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""
    values = widen(losses)
    possible = (values >= plan.loss_min) | (np.isnan(values) & (plan.n_nan > 0))
    return int(np.count_nonzero(~possible))


def grouped_losses(losses: Array, groups: GroupNumbers, threads: int | None = None) -> GroupedLosses:  # noqa: ARG001
    """Return the losses by group."""
    return GroupedLosses(losses, groups)


@ignore_float_errors
def count_first_pass(losses: Array, first: int, counts: Array, threads: int | None = None) -> None:  # noqa: ARG001
    """Add the losses to the counts of the first pass; `first` is the index of the first loss."""
    keys = keys_of(losses)
    values = widen(losses)
    code = BY_STORAGE[losses.dtype].code
    min_key = int(keys.min(initial=nan_key(keys)))
    nan_indices = np.flatnonzero(np.isnan(values))
    neg_inf_indices = np.flatnonzero(values == -math.inf)
    minima = [
        to_signed(min_key) if min_key < nan_key(keys) else MISSING,
        first + int(nan_indices[0]) if nan_indices.size else MISSING,
        first + int(neg_inf_indices[0]) if neg_inf_indices.size else MISSING,
        code,
        -code,
    ]
    bins = (keys >> (8 * keys.itemsize - BIN_BITS)).astype(np.intp)
    bins += HISTOGRAMS
    difference = np.bincount(bins, minlength=len(counts))
    # This difference may overflow, and so does the sum of it and the old minimum, which gives the new one.
    difference[:N_MINIMA] = np.minimum(counts[:N_MINIMA], minima) - counts[:N_MINIMA]
    _add(counts, losses, difference)


@ignore_float_errors
def count_pass(
    losses: Array,
    ranges: Sequence[tuple[int, int, int]],
    key_memory: Sequence[Array],
    pivots: Sequence[int],
    counts: Array,
    threads: int | None = None,  # noqa: ARG001
) -> None:
    """Add the losses to the counts of a later pass.

    Parameters
    ----------
    losses : array of shape (m,)
    ranges : sequence of (int, int, int)
        At most two ranges of keys: first and last key, and the right shift that turns the distance from the first key
        into the bin.
    key_memory : sequence of uint64 arrays
        Memory for the keys in each range, of which the first ones are stored already; or none, and the counts have a
        histogram for each range.
    pivots : sequence of int
        At most two keys.
    counts : int64 array
        See `rrm_core.definition.counting`.
    """
    keys = keys_of(losses)
    bins = np.empty(0, np.intp)
    n_in_range = []
    for i, (lowest, highest, shift) in enumerate(ranges):
        inside = keys[(keys >= lowest) & (keys <= highest)]
        n_in_range.append(inside.size)
        if key_memory:
            free = key_memory[i][counts[RANGES + i] :]
            free[: inside.size] = inside[: free.size]
        else:
            bins_of_range = ((inside - keys.dtype.type(lowest)) >> shift).astype(np.intp)
            bins_of_range += HISTOGRAMS + i * BINS
            bins = np.concatenate([bins, bins_of_range]) if i else bins_of_range
    difference = np.bincount(bins, minlength=len(counts))
    difference[RANGES : RANGES + len(ranges)] = n_in_range
    for i, pivot in enumerate(pivots):
        difference[PIVOTS + 2 * i] = np.count_nonzero(keys < pivot)
        difference[PIVOTS + 2 * i + 1] = np.count_nonzero(keys == pivot)
    _add(counts, losses, difference)


def _add(counts: Array, losses: Array, difference: Array) -> None:
    """Add the losses to `counts`, given the difference that they make but for their number and checksum."""
    difference[N] = len(losses)
    difference[CHECKSUM] = (int(counts[CHECKSUM]) + checksum(losses)) % 2**32 - int(counts[CHECKSUM])
    # One call that changes all counts: see `rrm_core.definition.counting`.
    np.add(counts, difference, out=counts)


def checksum(losses: Array) -> int:
    """Return the sum of the losses' words, modulo 2**32."""
    words = np.ascontiguousarray(losses).view(np.uint16 if losses.itemsize == 2 else np.uint32)
    return int(words.sum(dtype=np.uint64)) & 0xFFFF_FFFF
