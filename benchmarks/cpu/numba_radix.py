"""The rival written with Numba, which this module imports."""

from __future__ import annotations

import numpy as np
from numba import njit

from benchmarks.common.losses import Array

TABLES = 4  # neighbours use different tables, so that equal digits do not depend on each other


@njit
def find_digit(counts: Array, rank: int) -> tuple[int, int]:
    """Return the digit of the value with this rank, and the number of values with a smaller digit."""
    n_below = 0
    for digit in range(counts.shape[1]):
        at = 0
        for table in range(TABLES):
            at += counts[table, digit]
        if n_below + at >= rank:
            return digit, n_below
        n_below += at
    return -1, n_below


@njit
def select(bits: Array, scratch: Array, rank: int) -> tuple[np.uint32, int, int]:
    """Return the key of the rank-th smallest number, and the counts below and at it; digits of 11, 11, 10 bits."""
    sign = np.uint32(0x80000000)
    n = bits.size
    counts = np.zeros((TABLES, 2048), np.int64)
    for i in range(n):
        b = bits[i]
        key = ~b if b & sign else b ^ sign
        counts[i & (TABLES - 1), key >> np.uint32(21)] += 1
    digit, n_below = find_digit(counts, rank)
    m = 0
    for i in range(n):
        b = bits[i]
        key = ~b if b & sign else b ^ sign
        scratch[m] = key
        m += (key >> np.uint32(21)) == digit
    for shift, mask in ((np.uint32(10), np.uint32(2047)), (np.uint32(0), np.uint32(1023))):
        counts[:] = 0
        for i in range(m):
            counts[i & (TABLES - 1), (scratch[i] >> shift) & mask] += 1
        digit, less = find_digit(counts, rank - n_below)
        n_below += less
        left = 0
        for i in range(m):
            key = scratch[i]
            scratch[left] = key
            left += ((key >> shift) & mask) == digit
        m = left
    return scratch[0], n_below, m


@njit
def lowest_and_count(losses: Array) -> tuple[np.float32, int]:
    lowest = losses[0]
    count = 0
    n = losses.size
    for start in range(0, n, 2048):  # two loops that vectorise, over a block in the first-level cache
        stop = min(start + 2048, n)
        low = lowest
        for i in range(start, stop):
            low = losses[i] if losses[i] < low else low
        at = np.int32(0)
        for i in range(start, stop):
            at += np.int32(losses[i] == low)
        count = at if low < lowest else count + at
        lowest = low
    return lowest, count


@njit
def update(losses: Array, weights: Array, t: np.float32, lowest: np.float32, a: np.float32, b: Array) -> None:
    pruned, kept_target, top = b
    for i in range(losses.size):
        x = losses[i]
        part = top if x == lowest else kept_target
        weights[i] = a * weights[i] + (pruned if x > t else part)


@njit
def reweight(
    losses: Array, bits: Array, weights: Array, scratch: Array, rank: int, a: np.float32, b: np.float32
) -> tuple[float, float, int, int]:
    key, n_below, at = select(bits, scratch, rank)
    sign = np.uint32(0x80000000)
    scratch[0] = key ^ sign if key & sign else ~key
    t = scratch[:1].view(np.float32)[0]
    lowest, n_lowest = lowest_and_count(losses)
    n_above = losses.size - n_below - at
    top = b * np.float32(1.0 + n_above / n_lowest)
    update(losses, weights, t, lowest, a, (np.float32(0), b, top))
    return float(t), float(lowest), n_lowest, n_above
