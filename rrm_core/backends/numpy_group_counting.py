"""Counting passes over losses with groups, in plain NumPy."""

from __future__ import annotations

import numpy as np

from ..definition.counting import FIRST_NAN, FIRST_NEG_INF, MISSING, NEGATIVE_TYPE_CODE, TYPE_CODE
from ..definition.float_errors import ignore_float_errors
from ..definition.formats import BY_STORAGE, Array
from ..definition.group_counting import GROUP_MIN_KEYS, GroupPass
from .numpy_keys import keys_of, nan_key


@ignore_float_errors
def count_groups(
    losses: Array,
    groups: Array,
    first: int,
    group_pass: GroupPass,
    counts: Array,
    threads: int | None = None,  # noqa: ARG001
) -> None:
    """Add losses to the counts of a pass.

    Parameters
    ----------
    losses : array of shape (m,)
    groups : int32 array of shape (m,)
        Valid numbers of groups.
    first : int
        Index of the first loss among all.
    group_pass : GroupPass
    counts : int64 array
        See `rrm_core.definition.group_counting`.
    """
    keys = keys_of(losses)
    is_nan = keys == nan_key(keys)
    format = BY_STORAGE[losses.dtype]
    n_groups = group_pass.n_groups
    # The place of every count that grows by one.
    groups = groups.astype(np.intp)
    ones = [group_pass.sizes + groups, *_histogram_places(keys.astype(np.uint64), groups, group_pass, losses)]
    for i, pivots in enumerate(group_pass.pivots):
        place = group_pass.pivot_counts + 2 * i * n_groups
        pivot = pivots[groups]
        ones += [place + groups[keys < pivot], place + n_groups + groups[keys == pivot]]
    checksum = int(counts[group_pass.checksum])
    new_checksum = (checksum + group_checksum(losses, groups)) % 2**32
    places = [np.array([group_pass.n, group_pass.checksum])]
    numbers = [np.array([len(losses), new_checksum - checksum])]
    if group_pass.is_first:
        is_neg_inf = keys == format.key(-np.inf)
        ones += [group_pass.n_nan + groups[is_nan], np.full(np.count_nonzero(is_neg_inf), group_pass.n_neg_inf)]
        minima = np.full(group_pass.n, MISSING)
        minima[FIRST_NAN] = _first_index(is_nan, first)
        minima[FIRST_NEG_INF] = _first_index(is_neg_inf, first)
        minima[[TYPE_CODE, NEGATIVE_TYPE_CODE]] = format.code, -format.code
        signed = keys[~is_nan].astype(np.uint64) ^ np.uint64(1 << 63)
        np.minimum.at(minima[GROUP_MIN_KEYS:], groups[~is_nan], signed.view(np.int64))
        places.append(np.arange(group_pass.n))
        # This difference may overflow, and so does the sum of it and the old minimum, which gives the new one.
        numbers.append(np.minimum(counts[: group_pass.n], minima) - counts[: group_pass.n])
    n_others = sum(map(len, places))
    all_places = np.concatenate([*places, *ones])
    difference = np.ones(len(all_places), np.int64)
    difference[:n_others] = np.concatenate(numbers)
    # One call that changes all counts: see `rrm_core.definition.counting`.
    np.add.at(counts, all_places, difference)


def group_checksum(losses: Array, groups: Array) -> int:
    """Return the sum over the losses of the sum of their words times the group number + 1, modulo 2**32."""
    unsigned = np.dtype(np.uint16 if losses.itemsize == 2 else np.uint32)
    shape = (len(losses), losses.itemsize // unsigned.itemsize)
    words = np.ascontiguousarray(losses).view(unsigned).reshape(shape).sum(axis=1, dtype=np.uint64)
    # The products may overflow: what is left is right modulo 2**32.
    return int((words * (groups.astype(np.uint64) + np.uint64(1))).sum(dtype=np.uint64)) & 0xFFFF_FFFF


def _histogram_places(keys: Array, groups: Array, group_pass: GroupPass, losses: Array) -> list[Array]:
    """Return the places of the bins in which the losses lie, for each histogram."""
    shift = np.uint64(group_pass.shift_of(BY_STORAGE[losses.dtype]))
    bins = 1 << group_pass.bits
    places = []
    for i, first_keys in enumerate(group_pass.own):
        # The distance of a key below the first wraps to a large number.
        digits = (keys - first_keys[groups]) >> shift
        is_inside = digits < bins
        row = i * group_pass.n_groups + groups[is_inside]
        places.append(group_pass.own_histograms + row * bins + digits[is_inside].astype(np.intp))
    for i, first_key in enumerate(group_pass.of_all):
        digits = (keys - first_key) >> shift
        digits = digits[digits < bins].astype(np.intp)
        places.append(group_pass.histograms_of_all + i * bins + digits)
    return places


def _first_index(mask: Array, first: int) -> int:
    """Return the index of the first True, the first of all having the index `first`; MISSING if there is none."""
    indices = np.flatnonzero(mask)
    return first + int(indices[0]) if len(indices) else MISSING
