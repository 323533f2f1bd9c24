"""Consistency of a state and of counts: what is true whatever the losses, and however they were counted and merged.

Partial results come from other processes and from files. A result that passes these checks leads to a plan, or to an
error that says that other losses were counted than before.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..definition.counting import (
    BIN_BITS,
    BINS,
    CHECKSUM,
    HISTOGRAMS,
    MAX_LOSSES,
    MISSING,
    PIVOTS,
    RANGES,
    TYPE_CODE,
    N,
    to_unsigned,
)
from ..definition.formats import BY_CODE, Array, Format
from .rank_search import MAX_KEYS, PivotCount, RankRange, Target
from .round_state import SelectionState, find_targets


def is_consistent(state: SelectionState) -> bool:
    """Return whether a state can result from some losses."""
    format = state.format
    if format is None or state.threshold is None:  # before the first round is over
        return state == SelectionState(state.rule)
    return (
        _has_valid_totals(state, format)
        and _has_valid_round(state, format)
        and _has_targets_of_rule(state, format)
        and _has_valid_target_counts(state, format)
    )


def _has_valid_totals(state: SelectionState, format: Format) -> bool:
    return (
        0 < state.n < MAX_LOSSES
        and 0 <= state.checksum < 2**32
        and 0 <= state.n_nan < state.n
        and (state.n_nan == 0 or state.rule.nan == "prune")
        and _is_number(format, state.min_key)
        and math.isfinite(format.decode(state.min_key))
    )


def _is_number(format: Format, key: int) -> bool:
    """Return whether this is the key of a number. The key between those of 0 and the next smaller number is not."""
    return format.key(-math.inf) <= key <= format.key(math.inf) and key != format.key(0.0) - 1


def _has_valid_round(state: SelectionState, format: Format) -> bool:
    last_round = format.width // BIN_BITS
    ranges = [target for target in state.targets if isinstance(target, RankRange)]
    if not state.complete:
        width = format.width - BIN_BITS * (state.round - 1)
        return (
            2 <= state.round <= last_round
            and all(target.width == width for target in ranges)
            and all(target.resolved == (state.round > 2) for target in state.targets if isinstance(target, PivotCount))
        )
    if not ranges:
        return state.round == min(2, last_round)
    # Ranges are resolved before the last round by collecting their keys.
    return state.round == last_round or (
        2 <= state.round < last_round and all(target.n_at <= MAX_KEYS for target in ranges)
    )


def _has_targets_of_rule(state: SelectionState, format: Format) -> bool:
    """Return whether the thresholds have the ranks or keys that follow from the rule."""
    expected = find_targets(state.rule, format, state.n, state.n_nan, state.min_key)
    return tuple(map(_definition, expected)) == (_definition(state.threshold), _definition(state.recipients))


def _definition(target: Target | None) -> tuple[type, int] | None:
    if target is None:
        return None
    return type(target), target.rank if isinstance(target, RankRange) else target.key


class _Interval(NamedTuple):
    """The number of losses below a range of keys, and in it."""

    first: int
    last: int
    n_below: int
    n_inside: int


def _has_valid_target_counts(state: SelectionState, format: Format) -> bool:
    if not all(_is_valid(target, format) for target in state.targets):
        return False
    # Pivots are not counted before they are resolved.
    counted = [target for target in state.targets if target.resolved or isinstance(target, RankRange)]
    intervals = sorted(map(_interval_of, counted))
    return all(_agrees_with_totals(interval, state, format) for interval in intervals) and (
        len(intervals) < 2 or _agree(*intervals)
    )


def _is_valid(target: Target, format: Format) -> bool:
    if isinstance(target, PivotCount):
        return target.resolved or target == PivotCount(target.key)
    return (
        target.first % (1 << target.width) == 0
        and target.n_below < target.rank <= target.n_below + target.n_inside
        and (not target.resolved or _is_number(format, target.first))
    )


def _interval_of(target: Target) -> _Interval:
    if isinstance(target, PivotCount):
        return _Interval(target.key, target.key, target.n_below, target.n_at)
    first, last, _ = target.bounds
    return _Interval(first, last, target.n_below, target.n_inside)


def _agrees_with_totals(interval: _Interval, state: SelectionState, format: Format) -> bool:
    first, last, n_below, n_inside = interval
    n_up_to_last = n_below + n_inside
    holds_minimum = first <= state.min_key
    infinity = format.key(math.inf)
    return (
        state.min_key <= last
        and first <= infinity
        and n_inside >= int(holds_minimum)
        and (n_below == 0 if holds_minimum else n_below > 0)
        and n_up_to_last <= state.n - state.n_nan
        and (last < infinity or n_up_to_last == state.n - state.n_nan)
    )


def _agree(a: _Interval, b: _Interval) -> bool:
    """Return whether the counts of two intervals, the second of which does not begin first, agree with each other."""
    if a[:2] == b[:2]:
        return a == b
    if a.last < b.first:
        return a.n_below + a.n_inside <= b.n_below
    # One of them is a pivot in the range of the other.
    outer, inner = (a, b) if a.last - a.first > b.last - b.first else (b, a)
    return outer.n_below <= inner.n_below and inner.n_below + inner.n_inside <= outer.n_below + outer.n_inside


def are_counts_consistent(state: SelectionState, counts: Array) -> bool:
    """Return whether counts can be those of some losses in the round that this state starts.

    Parameters
    ----------
    state : SelectionState
        Consistent.
    counts : int64 array
        See `rrm_core.definition.counting`; of the length that the round requires, and with valid codes of types.
    """
    if not _are_sums_consistent(state, counts):
        return False
    n = int(counts[N])
    totals = counts[HISTOGRAMS:].reshape(-1, BINS).sum(axis=1).tolist()
    if state.complete:
        return n == 0
    if state.round == 1:
        return totals == [n] and _are_minima_consistent(counts)
    n_in_range = counts[RANGES : RANGES + len(state.ranges)].tolist()
    return state.collects_keys or totals == n_in_range


def _are_sums_consistent(state: SelectionState, counts: Array) -> bool:
    n = int(counts[N])
    checksum = int(counts[CHECKSUM])
    n_at_pivots = counts[PIVOTS:RANGES].reshape(2, 2)
    n_in_ranges = counts[RANGES:HISTOGRAMS]
    # Negative numbers are large as unsigned ones.
    largest = counts[PIVOTS:].view(np.uint64).max()
    return (
        largest <= n < MAX_LOSSES
        and (n > 0 or checksum == 0)
        and (n == 0 or counts[TYPE_CODE] != MISSING)
        and n_at_pivots.sum(axis=1).max() <= n
        and n_in_ranges.sum() <= n
        and not n_at_pivots[len(state.pivots) :].any()
        and not n_in_ranges[len(state.ranges) :].any()
        and (state.round == 1 or counts[:TYPE_CODE].tolist() == [MISSING] * TYPE_CODE)
    )


def _are_minima_consistent(counts: Array) -> bool:
    """Return whether the minima of the first round agree with its histogram."""
    if counts[TYPE_CODE] == MISSING:
        return bool((counts[:TYPE_CODE] == MISSING).all())
    format = BY_CODE[int(counts[TYPE_CODE])]
    shift = format.width - BIN_BITS
    min_key, first_nan, first_neg_inf = counts[:TYPE_CODE].tolist()
    histogram = counts[HISTOGRAMS:]
    # NaN and the infinities have bins of their own, and no number lies beyond.
    neg_inf_bin = format.key(-math.inf) >> shift
    inf_bin = format.key(math.inf) >> shift
    if histogram[:neg_inf_bin].any() or histogram[inf_bin + 1 : -1].any():
        return False
    if counts[N] == histogram[-1]:
        has_valid_min_key = min_key == MISSING
    else:
        key = to_unsigned(min_key)
        lowest_bin = (histogram > 0).argmax()
        has_valid_min_key = _is_number(format, key) and key >> shift == lowest_bin
    return (
        has_valid_min_key
        and is_index(first_nan, exists=histogram[-1] > 0)
        and is_index(first_neg_inf, exists=histogram[neg_inf_bin] > 0)
    )


def is_index(index: int, *, exists: bool) -> bool:
    """Return whether this is the index of a loss that exists, or stands for none."""
    return 0 <= index < MISSING if exists else index == MISSING
