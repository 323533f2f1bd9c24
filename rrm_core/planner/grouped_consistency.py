"""Consistency of a state and of counts with groups, as `consistency` without groups.

Checked are totals, minima, ranks and the order of the thresholds within each group; not whether the counts of the
groups and those of all losses at a threshold agree.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from ..definition.counting import FIRST_NAN, FIRST_NEG_INF, MAX_LOSSES, MISSING, TYPE_CODE
from ..definition.formats import BY_CODE, Array, Format
from ..definition.group_counting import GROUP_MIN_KEYS
from .grouped_ranges import KeyRanges
from .grouped_state import GroupedState

_SIGN = np.uint64(1 << 63)


def is_consistent(state: GroupedState) -> bool:
    """Return whether a state can result from some losses, as far as is checked."""
    format = state.format
    if format is None or not state.n_counted:
        return state == GroupedState.start(state.rule, state.n_groups, state.bits)
    return (
        _has_valid_totals(state, format)
        and _has_valid_round(state)
        and _has_valid_ranges(state, format)
        and _has_valid_pivot_counts(state)
        and _has_valid_order(state)
    )


def _has_valid_totals(state: GroupedState, format: Format) -> bool:
    has_samples = state.sizes > 0
    return (
        bool((state.sizes >= 0).all() and (state.sizes < MAX_LOSSES).all())
        and 0 < state.n < MAX_LOSSES
        and 0 <= state.checksum < 2**32
        and bool((state.n_nan >= 0).all() and (state.n_nan <= np.maximum(state.sizes - 1, 0)).all())
        and (state.rule.nan == "prune" or not state.n_nan.any())
        and bool(_are_finite_numbers(state.min_keys[has_samples], format).all())
        and not state.min_keys[~has_samples].any()
    )


def _are_finite_numbers(keys: Array, format: Format) -> Array:
    """Return which of the keys are those of finite numbers. The key before that of 0 is none."""
    are_finite: Array = (keys > format.key(-math.inf)) & (keys < format.key(math.inf)) & (keys != format.key(0.0) - 1)
    return are_finite


def _has_valid_round(state: GroupedState) -> bool:
    """Return whether as many rounds were counted as the state has results, and not more than are needed."""
    assert state.format is not None
    has_ranges = state.own.first.size + state.of_all.first.size > 0
    n_narrowing = -(-state.format.width // state.bits) if has_ranges else 1
    if state.pivot_counts is None:
        return state.n_counted <= n_narrowing
    return state.n_counted == n_narrowing + 1 and len(state.pivot_counts) == len(state.pivots) > 0


def _has_valid_ranges(state: GroupedState, format: Format) -> bool:
    own_ranks, ranks_of_all = state.ranks
    has_samples = state.sizes > 0
    smallest = state.min_keys[has_samples].min()
    return _are_valid(
        state.own, own_ranks, state.width, format, state.min_keys, state.sizes, state.sizes - state.n_nan
    ) and _are_valid(
        state.of_all, ranks_of_all, state.width, format, smallest, state.n, state.n - int(state.n_nan.sum())
    )


def _are_valid(
    ranges: KeyRanges,
    ranks: Array,
    width: int,
    format: Format,
    min_keys: Array,
    sizes: Array | int,
    n_valid: Array | int,
) -> bool:
    """Return whether ranges have the ranks, and agree with the smallest keys and the numbers of losses."""
    first, n_below, n_inside = ranges
    if not ((n_below >= 0).all() and (n_inside >= 0).all() and (n_below < MAX_LOSSES).all()):
        return False
    last = first + np.uint64((1 << width) - 1)
    infinity = np.uint64(format.key(math.inf))
    holds_minimum = first <= min_keys
    n_up_to_last = n_below + n_inside
    is_valid = (
        (first & np.uint64((1 << width) - 1) == 0)
        & (n_below < ranks)
        & (ranks <= n_up_to_last)
        & (min_keys <= last)
        & (first <= infinity)
        & ((n_below == 0) == holds_minimum)
        & (n_up_to_last <= np.where(last > infinity, sizes, n_valid))
    )
    if width == 0:
        is_valid &= first != np.uint64(format.key(0.0) - 1)
    is_empty = (ranks == 0) & (first == 0) & (n_up_to_last == 0)
    return bool((is_valid | is_empty).all())


def _has_valid_pivot_counts(state: GroupedState) -> bool:
    if state.pivot_counts is None:
        return True
    n_below = state.pivot_counts[:, 0]
    n_equal = state.pivot_counts[:, 1]
    if not ((n_below >= 0).all() and (n_equal >= 0).all()):
        return False
    # Unsigned, so that the sum of two large numbers does not overflow.
    total = n_below.astype(np.uint64) + n_equal.astype(np.uint64)
    has_samples = state.sizes > 0
    is_above = has_samples & (state.pivots > state.min_keys)
    is_minimum = has_samples & (state.pivots == state.min_keys)
    is_valid = (
        (total <= (state.sizes - state.n_nan).astype(np.uint64))
        & ((n_below > 0) == is_above)
        & ((n_equal > 0) | ~is_minimum)
        & ((n_equal == 0) | is_minimum | is_above)
    )
    return bool(is_valid.all())


def _has_valid_order(state: GroupedState) -> bool:
    """Return whether the thresholds of each group have counts in the order of their keys."""
    rows = list(zip(*state.own, strict=True))
    if state.pivot_counts is not None:
        rows += [(keys, *counts) for keys, counts in zip(state.pivots, state.pivot_counts, strict=True)]
    return all(_agree(*pair) for pair in combinations(rows, 2)) and all(
        _agree(*pair) for pair in combinations(zip(*(np.atleast_1d(x)[:, None] for x in state.of_all), strict=True), 2)
    )


def _agree(a: tuple[Array, ...], b: tuple[Array, ...]) -> bool:
    """Return whether counts below and in ranges of the same size agree, group by group."""
    is_same = (a[0] == b[0]) & (a[1] == b[1]) & (a[2] == b[2])
    is_before = (a[0] < b[0]) & (a[1] + a[2] <= b[1])
    is_after = (a[0] > b[0]) & (b[1] + b[2] <= a[1])
    return bool((is_same | is_before | is_after).all())


def are_counts_consistent(state: GroupedState, counts: Array) -> bool:
    """Return whether counts can be those of some losses in the round that this state starts.

    Parameters
    ----------
    state : GroupedState
        Consistent.
    counts : int64 array
        See `rrm_core.definition.group_counting`; of the length that the round requires, and with valid codes of types.
    """
    places = state.group_pass
    n = int(counts[places.n])
    # Negative numbers are large as unsigned ones.
    sums = counts[places.n_neg_inf :].view(np.uint64)
    sizes = counts[places.sizes : places.n_nan]
    n_nan = counts[places.n_nan : places.pivot_counts]
    if not (0 <= n < MAX_LOSSES and sums.max() <= n and (n == 0 or counts[TYPE_CODE] != MISSING)):
        return False
    n_in_range = counts[places.own_histograms :].reshape(-1, 1 << places.bits).sum(axis=1)
    if sizes.sum() != n or (n_nan > sizes).any() or (n_in_range > n).any():
        return False
    pivot_counts = counts[places.pivot_counts : places.own_histograms].reshape(-1, 2, state.n_groups)
    if (pivot_counts.sum(axis=1) > sizes).any():
        return False
    if state.complete:
        return n == 0
    if state.n_counted:
        is_unused = counts[:TYPE_CODE].tolist() == [MISSING] * TYPE_CODE
        return is_unused and bool((counts[GROUP_MIN_KEYS : places.n] == MISSING).all())
    own = n_in_range[: places.own.size]
    return (
        _are_minima_consistent(state, counts)
        and np.array_equal(own, np.tile(sizes, len(places.own)))
        and (bool((n_in_range[places.own.size :] == n).all()))
    )


def _are_minima_consistent(state: GroupedState, counts: Array) -> bool:
    """Return whether the minima of the first round agree with its sums."""
    places = state.group_pass
    if counts[TYPE_CODE] == MISSING:
        return bool((counts[: places.n] == MISSING).all())
    format = BY_CODE[int(counts[TYPE_CODE])]
    n_nan = counts[places.n_nan : places.pivot_counts]
    has_minimum = counts[places.sizes : places.n_nan] > n_nan
    signed = counts[GROUP_MIN_KEYS : places.n]
    keys = signed[has_minimum].view(np.uint64) ^ _SIGN
    is_infinite = (keys == format.key(-math.inf)) | (keys == format.key(math.inf))
    return (
        bool((signed[~has_minimum] == MISSING).all())
        and bool((_are_finite_numbers(keys, format) | is_infinite).all())
        and _is_index(int(counts[FIRST_NAN]), exists=bool(n_nan.any()))
        and _is_index(int(counts[FIRST_NEG_INF]), exists=bool(counts[places.n_neg_inf]))
    )


def _is_index(index: int, *, exists: bool) -> bool:
    return 0 <= index < MISSING if exists else index == MISSING
