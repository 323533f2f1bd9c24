"""Consistency of a state and of counts with groups, as `consistency` without groups."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..definition.counting import FIRST_NAN, FIRST_NEG_INF, MAX_LOSSES, MISSING, TYPE_CODE
from ..definition.formats import BY_CODE, Array, Format
from ..definition.group_counting import GROUP_MIN_KEYS, GroupPass
from .consistency import is_index
from .grouped_ranges import KeyRanges
from .grouped_state import GroupedState

_SIGN = np.uint64(1 << 63)
_NO_KEY = np.uint64((1 << 64) - 1)


def is_consistent(state: GroupedState) -> bool:
    """Return whether a state can result from some losses."""
    format = state.format
    if format is None or not state.n_counted:
        return state == GroupedState.start(state.rule, state.n_groups, state.bits)
    if not _has_valid_totals(state, format):
        return False
    own_ranks, ranks_of_all = state.ranks
    return (
        _have_ranks(state.own, own_ranks, state.width, format)
        and _have_ranks(state.of_all, ranks_of_all, state.width, format)
        and _has_valid_round(state, format)
        and _has_valid_counts(state, format)
    )


def _has_valid_totals(state: GroupedState, format: Format) -> bool:
    has_samples = state.sizes > 0
    return (
        bool((state.sizes >= 0).all())
        # As doubles, which are exact here and do not overflow.
        and 0 < state.sizes.sum(dtype=np.float64) < MAX_LOSSES
        and 0 <= state.checksum < 2**32
        and bool((state.n_nan >= 0).all() and (state.n_nan <= np.maximum(state.sizes - 1, 0)).all())
        and (state.rule.nan == "prune" or not state.n_nan.any())
        and bool((_are_numbers(state.min_keys, format) & ~_are_infinite(state.min_keys, format))[has_samples].all())
        and not state.min_keys[~has_samples].any()
    )


def _are_numbers(keys: Array, format: Format) -> Array:
    """Return which keys are those of numbers. The key between those of 0 and the next smaller number is not."""
    are_numbers: Array = (
        (format.key(-math.inf) <= keys) & (keys <= format.key(math.inf)) & (keys != format.key(0.0) - 1)
    )
    return are_numbers


def _are_infinite(keys: Array, format: Format) -> Array:
    are_infinite: Array = (keys == format.key(-math.inf)) | (keys == format.key(math.inf))
    return are_infinite


def _has_valid_round(state: GroupedState, format: Format) -> bool:
    """Return whether as many rounds were counted as the state has results, and not more than are needed."""
    has_ranges = state.own.first.size + state.of_all.first.size > 0
    n_narrowing = -(-format.width // state.bits) if has_ranges else 1
    if state.pivot_counts is None:
        return state.n_counted <= n_narrowing
    return state.n_counted == n_narrowing + 1 and len(state.pivot_counts) == len(state.pivots) > 0


def _have_ranks(ranges: KeyRanges, ranks: Array, width: int, format: Format) -> bool:
    """Return whether these are ranges of keys of this width, and hold the ranks."""
    first, n_below, n_inside = ranges
    if not ((n_below >= 0).all() and (n_inside >= 0).all() and (n_below < MAX_LOSSES).all()):
        return False
    hold_ranks = (n_below < ranks) & (ranks <= n_below + n_inside)
    if width == 0:
        hold_ranks &= _are_numbers(first, format)
    is_empty = (ranks == 0) & (first == 0) & (n_below == 0) & (n_inside == 0)
    return bool((hold_ranks | is_empty).all()) and not (first & np.uint64((1 << width) - 1)).any()


class _Below(NamedTuple):
    """Numbers of losses of each group below some keys.

    Attributes
    ----------
    keys : uint64 array of shape (m, n_groups)
        In any order.
    counts : int64 array of shape (m, n_groups)
        Number of the group's losses with smaller keys.
    min_keys : uint64 array of shape (n_groups,)
        The smallest key of each group; `_NO_KEY` for an empty group.
    n_valid : int64 array of shape (n_groups,)
        Number of the group's losses that are not NaN.
    """

    keys: Array
    counts: Array
    min_keys: Array
    n_valid: Array

    def limits(self, key: Array | np.uint64) -> tuple[Array, Array]:
        """Return the least and the largest possible number of losses of each group with keys smaller than `key`."""
        least = np.where(self.keys <= key, self.counts, 0).max(axis=0, initial=0)
        largest = np.where(self.keys >= key, self.counts, self.n_valid).min(axis=0, initial=MAX_LOSSES)
        return np.maximum(least, self.min_keys < key), np.where(self.min_keys < key, largest, 0)

    def agree(self) -> bool:
        """Return whether the numbers do not contradict each other, the smallest keys or the numbers of losses."""
        for key, count in zip(self.keys, self.counts, strict=True):
            least, largest = self.limits(key)
            if not ((least <= count) & (count <= largest)).all():
                return False
        return True

    def allow_sum(self, key: np.uint64, count: int) -> bool:
        """Return whether `count` losses of all groups together can have keys smaller than `key`."""
        least, largest = self.limits(key)
        return bool(least.sum() <= count <= largest.sum())


def _has_valid_counts(state: GroupedState, format: Format) -> bool:
    """Return whether the counts agree with each other in each group, and those of the groups with those of all."""
    n_valid = state.sizes - state.n_nan
    if state.pivot_counts is not None:
        is_count = (state.pivot_counts >= 0) & (state.pivot_counts <= n_valid)
        if not is_count.all():
            return False
    min_keys = np.where(state.sizes > 0, state.min_keys, _NO_KEY)
    keys, counts = _below_bounds(state.own, state.width, state.n_nan, format)
    if state.pivot_counts is not None:
        pivots = KeyRanges(state.pivots, state.pivot_counts[:, 0], state.pivot_counts[:, 1])
        pivot_keys, pivot_counts = _below_bounds(pivots, 0, state.n_nan, format)
        keys = np.concatenate([keys, pivot_keys])
        counts = np.concatenate([counts, pivot_counts])
    # No loss is larger than infinity.
    beyond = np.full((1, state.n_groups), format.key(math.inf) + 1, np.uint64)
    by_group = _Below(np.concatenate([keys, beyond]), np.concatenate([counts, n_valid[None]]), min_keys, n_valid)
    keys, counts = _below_bounds(state.of_all, state.width, state.n_nan.sum(), format)
    of_all = _Below(keys[:, None], counts[:, None], min_keys.min(keepdims=True), n_valid.sum(keepdims=True))
    return by_group.agree() and of_all.agree() and all(map(by_group.allow_sum, keys, counts))


def _below_bounds(ranges: KeyRanges, width: int, n_nan: Array, format: Format) -> tuple[Array, Array]:
    """Return the first keys of ranges and those after their last keys, with the numbers of losses below each."""
    first, n_below, n_inside = ranges
    last = first + np.uint64((1 << width) - 1)
    # The range that ends with the largest key also holds NaN.
    n_up_to_last = n_below + n_inside - np.where(last == np.uint64((1 << format.width) - 1), n_nan, 0)
    beyond = np.minimum(last, np.uint64(format.key(math.inf))) + np.uint64(1)
    return np.concatenate([first, beyond]), np.concatenate([n_below, n_up_to_last])


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
    # The sum as doubles, which are exact here and do not overflow.
    if sizes.sum(dtype=np.float64) != n or (n_nan > sizes).any() or (n_in_range > n).any():
        return False
    pivot_counts = counts[places.pivot_counts : places.own_histograms].reshape(-1, 2, state.n_groups)
    if (pivot_counts.sum(axis=1) > sizes).any():
        return False
    if state.complete:
        return n == 0
    if state.n_counted:
        is_unused = counts[:TYPE_CODE].tolist() == [MISSING] * TYPE_CODE
        n_own_in_range = n_in_range[: places.own.size].reshape(-1, state.n_groups)
        return (
            is_unused
            and bool((counts[GROUP_MIN_KEYS : places.n] == MISSING).all())
            and bool((n_own_in_range <= sizes).all())
        )
    return _are_minima_consistent(places, counts) and _are_first_histograms_consistent(places, counts)


def _are_minima_consistent(places: GroupPass, counts: Array) -> bool:
    """Return whether the minima of the first round agree with its sums."""
    if counts[TYPE_CODE] == MISSING:
        return bool((counts[: places.n] == MISSING).all())
    format = BY_CODE[int(counts[TYPE_CODE])]
    n_nan = counts[places.n_nan : places.pivot_counts]
    n_neg_inf = int(counts[places.n_neg_inf])
    has_minimum = counts[places.sizes : places.n_nan] > n_nan
    signed = counts[GROUP_MIN_KEYS : places.n]
    keys = signed[has_minimum].view(np.uint64) ^ _SIGN
    return (
        bool((signed[~has_minimum] == MISSING).all())
        and bool(_are_numbers(keys, format).all())
        and bool((keys == format.key(-math.inf)).any()) == (n_neg_inf > 0)
        and is_index(int(counts[FIRST_NAN]), exists=bool(n_nan.any()))
        and is_index(int(counts[FIRST_NEG_INF]), exists=n_neg_inf > 0)
    )


def _are_first_histograms_consistent(places: GroupPass, counts: Array) -> bool:
    """Return whether the histograms of the first round agree with each other, with its sums and with its minima."""
    if counts[TYPE_CODE] == MISSING:
        return not counts[places.own_histograms :].any()
    bins = 1 << places.bits
    own = counts[places.own_histograms : places.histograms_of_all].reshape(-1, bins)
    of_all = counts[places.histograms_of_all :].reshape(-1, bins)
    sizes = counts[places.sizes : places.n_nan]
    n_nan = counts[places.n_nan : places.pivot_counts]
    min_keys = counts[GROUP_MIN_KEYS : places.n].view(np.uint64) ^ _SIGN
    return (
        (not len(own) or _is_first_histogram(places, counts, own, sizes, n_nan, min_keys))
        and (not len(of_all) or _is_first_histogram(places, counts, of_all, sizes.sum(), n_nan.sum(), min_keys.min()))
        and (not len(own) or not len(of_all) or np.array_equal(own.sum(axis=0), of_all[0]))
    )


def _is_first_histogram(
    places: GroupPass, counts: Array, histograms: Array, sizes: Array, n_nan: Array, min_keys: Array
) -> bool:
    """Return whether histograms of the first round can be those of losses of these sizes, NaN and smallest keys."""
    format = BY_CODE[int(counts[TYPE_CODE])]
    shift = places.shift_of(format)
    inf_bin = format.key(math.inf) >> shift
    # NaN are in the last bin; in wide bins, infinity is too.
    n_numbers_in_last = histograms[:, -1] - n_nan
    has_valid_last = n_numbers_in_last >= 0 if inf_bin == histograms.shape[1] - 1 else n_numbers_in_last == 0
    has_valid_lowest = (sizes == n_nan) | ((histograms > 0).argmax(axis=1) == min_keys >> np.uint64(shift))
    return bool(
        (histograms.sum(axis=1) == sizes).all()
        and has_valid_last.all()
        and has_valid_lowest.all()
        and not histograms[:, inf_bin + 1 : -1].any()
    )
