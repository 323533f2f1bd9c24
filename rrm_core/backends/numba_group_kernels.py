"""The compiled loops of the Numba backend for losses with groups. Importing this module imports Numba.

The keys of the losses, see `numba_kernels.key_of`, are sorted by group. A chunk is a range of samples or of groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange

from ..definition.formats import Array
from .numba_compile import compiled
from .numba_kernels import BLOCK, first_invalid, key_of


@compiled()
def sort_by_group(groups: Array, starts: Array, positions: Array) -> None:
    """Fill `starts` and `positions`, see `GroupOrder`, by counting."""
    n_groups = starts.size - 1
    starts[:] = 0
    for i in range(groups.size):
        starts[groups[i] + 1] += 1
    for group in range(n_groups):
        starts[group + 1] += starts[group]
    following = starts[:n_groups].copy()
    for i in range(groups.size):
        positions[i] = following[groups[i]]
        following[groups[i]] += 1


@compiled()
def sort_keys_part(bits: Array, positions: Array, infinity: np.uint64, keys: Array) -> None:
    """Write the keys of some losses to their positions."""
    sign = np.uint64(1) << np.uint64(8 * bits.itemsize - 1)
    for i in range(bits.size):
        keys[positions[i]] = key_of(bits[i], sign, infinity)


@compiled(parallel=True)
def sort_keys(bits: Array, n_chunks: int, positions: Array, infinity: np.uint64, keys: Array) -> None:
    """Write the keys of all losses, sorted by group."""
    n = bits.size
    for chunk in prange(n_chunks):
        start = chunk * n // n_chunks
        stop = (chunk + 1) * n // n_chunks
        sort_keys_part(bits[start:stop], positions[start:stop], infinity, keys)


@compiled()
def count_up_to(keys: Array, key: np.uint64) -> int:
    """Return the number of keys that are not above `key`."""
    n = 0
    for i in range(keys.size):
        n += keys[i] <= key
    return n


@compiled()
def select(keys: Array, rank: int, lowest: np.uint64, highest: np.uint64) -> np.uint64:
    """Return the `rank`-th smallest key, by bisection between the smallest and a largest possible one."""
    while lowest < highest:
        middle = lowest + (highest - lowest) // np.uint64(2)
        if count_up_to(keys, middle) >= rank:
            highest = middle
        else:
            lowest = middle + np.uint64(1)
    return lowest


@compiled()
def scan_part(
    keys: Array, starts: Array, groups: tuple[int, int], nan: np.uint64, ranks: Array, selected: Array, n_nan: Array
) -> None:
    """Fill the smallest key and that with a rank, and the number of NaN, of groups from the first up to the last."""
    for group in range(groups[0], groups[1]):
        part = keys[starts[group] : starts[group + 1]]
        smallest = nan
        for i in range(part.size):
            smallest = min(smallest, part[i])
        n_valid = count_up_to(part, nan - np.uint64(1))
        n_nan[group] = part.size - n_valid
        selected[group, 0] = smallest
        selected[group, 1] = nan
        if ranks[group] and n_valid:
            selected[group, 1] = select(part, min(ranks[group], n_valid), smallest, nan - np.uint64(1))


@compiled(parallel=True)
def scan(
    keys: Array, n_chunks: int, starts: Array, nan: np.uint64, ranks: Array, selected: Array, n_nan: Array
) -> None:
    """Fill the smallest key and that with a rank, `nan` for none, and the number of NaN of each group."""
    n_groups = starts.size - 1
    for chunk in prange(n_chunks):
        groups = chunk * n_groups // n_chunks, (chunk + 1) * n_groups // n_chunks
        scan_part(keys, starts, groups, nan, ranks, selected, n_nan)


@compiled()
def count_part(keys: Array, starts: Array, groups: tuple[int, int], pivots: Array, counts: Array) -> None:
    """Fill the number of keys below and equal to the pivots of groups from the first up to the last."""
    for group in range(groups[0], groups[1]):
        part = keys[starts[group] : starts[group + 1]]
        n_below = 0
        n_equal = 0
        for i in range(part.size):
            n_below += part[i] < pivots[group]
            n_equal += part[i] == pivots[group]
        counts[group, 0] = n_below
        counts[group, 1] = n_equal


@compiled(parallel=True)
def count(keys: Array, n_chunks: int, starts: Array, pivots: Array, counts: Array) -> None:
    """Fill the number of keys of each group below and equal to its pivot."""
    n_groups = starts.size - 1
    for chunk in prange(n_chunks):
        groups = chunk * n_groups // n_chunks, (chunk + 1) * n_groups // n_chunks
        count_part(keys, starts, groups, pivots, counts)


@compiled()
def write_part(
    values: Array, groups: Array, thresholds: Array, recipient_thresholds: Array, steps: Array, new: Array
) -> None:
    """Write the step of each sample: the element of its group's `steps` for its level."""
    for i in range(values.size):
        group = groups[i]
        x = values[i]
        level = (x <= thresholds[group]) + (x < thresholds[group]) + 2 * (x <= recipient_thresholds[group])
        new[i] = steps[group, level]


@compiled()
def smooth_block(old_weights: Array, new: Array, a: Any) -> int:
    """Add a * old weight to the steps in `new`, each operation rounded; return the number of invalid old weights."""
    n_valid = np.int32(0)
    for i in range(new.size):
        old = old_weights[i]
        n_valid = np.int32(n_valid + ((old >= 0) & (old < np.inf)))
        new[i] = a * old + new[i]
    return new.size - int(n_valid)


@compiled(parallel=True)
def write(
    values: Array,
    groups: Array,
    old_weights: Array,
    out: Array,
    n_chunks: int,
    thresholds: Array,
    recipient_thresholds: Array,
    steps: Array,
    a: Any,
) -> tuple[Array, Array]:
    """Write a * old weight + step of each sample; the step alone if `old_weights` is empty.

    Through a buffer, since `out` may be `old_weights`. For the result see `numba_kernels.smooth`.
    """
    n = values.size
    counts = np.zeros((n_chunks, 2), np.int64)
    first_values = np.zeros(n_chunks, out.dtype)
    for chunk in prange(n_chunks):
        buffer = np.empty(BLOCK, out.dtype)
        end = (chunk + 1) * n // n_chunks
        for start in range(chunk * n // n_chunks, end, BLOCK):
            stop = min(start + BLOCK, end)
            new = buffer[: stop - start]
            write_part(values[start:stop], groups[start:stop], thresholds, recipient_thresholds, steps, new)
            if old_weights.size:
                n_invalid = smooth_block(old_weights[start:stop], new, a)
                if n_invalid:
                    if not counts[chunk, 0]:
                        counts[chunk, 1] = start + first_invalid(old_weights[start:stop])
                        first_values[chunk] = old_weights[counts[chunk, 1]]
                    counts[chunk, 0] += n_invalid
            out[start:stop] = new
    return counts, first_values
