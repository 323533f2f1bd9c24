"""The loops of the numba backend. Importing this module imports Numba.

Arrays are contiguous, float32 or float64. Without fastmath Numba neither reorders nor fuses a floating-point operation.
Its integers widen to 64 bits and mixed ones turn to float64, hence the uniform use of uint64 for keys.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from ..formats import Array

DIGIT = 11  # bits that one pass of the radix selection settles; the counts fit the L1 cache


def select(values: Array, rank: int) -> tuple[float, int, int]:
    """Return the `rank`-th smallest value, how many lie below it, and how many equal it. NaN rank last."""
    width = 8 * values.dtype.itemsize
    bits = values.view(f"u{values.dtype.itemsize}")
    infinity = np.array(np.inf, values.dtype).view(bits.dtype)
    prefix, below, at, shift = 0, 0, 0, width
    while shift:
        digit = min(DIGIT, shift)
        shift -= digit
        counts = digit_counts(bits, get_num_threads(), np.uint64(infinity), width, prefix, shift, digit).sum(axis=0)
        upto = np.cumsum(counts)
        found = int(np.searchsorted(upto, rank - below))
        below, at, prefix = below + int(upto[found] - counts[found]), int(counts[found]), prefix << digit | found
    sign = 1 << (width - 1)
    pattern = prefix ^ sign if prefix & sign else prefix ^ (2 * sign - 1)
    return float(np.array(pattern, bits.dtype).view(values.dtype)), below, at


def scan(values: Array) -> tuple[int, int, int, int, int, float, int]:
    """Return number and first index of NaN and of -inf, number of +inf, the minimum and its multiplicity."""
    ints, lows = scan_chunks(values, get_num_threads())
    n_nan, n_low, n_inf = (int(column.sum()) for column in ints[:, :3].T)
    first_nan, first_low = (int(column.min()) for column in ints[:, 3:5].T)
    loss_min = lows.min()
    return n_nan, first_nan, n_low, first_low, n_inf, float(loss_min), int(ints[lows == loss_min, 5].sum())


def count(values: Array, threshold: float) -> tuple[int, int]:
    """Return how many values lie below the threshold, and how many on it."""
    below, at = count_chunks(values, get_num_threads(), values.dtype.type(threshold)).sum(axis=0)
    return int(below), int(at)


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def scan_chunks(values: Array, chunks: int) -> tuple[Array, Array]:
    """Per chunk: number of NaN, -inf and +inf, first NaN and -inf, multiplicity of the minimum; and the minimum."""
    n = values.size
    ints, lows = np.zeros((chunks, 6), np.int64), np.full(chunks, np.inf, values.dtype)
    for chunk in prange(chunks):
        n_nan = n_low = n_inf = n_min = 0
        first_nan = first_low = n
        low = lows[chunk]
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            x = values[i]
            if x != x:
                n_nan += 1
                first_nan = min(first_nan, i)
                continue
            if x < low:
                low, n_min = x, 0
            n_min += x == low
            n_inf += x == np.inf
            if x == -np.inf:
                n_low += 1
                first_low = min(first_low, i)
        ints[chunk] = (n_nan, n_low, n_inf, first_nan, first_low, n_min)
        lows[chunk] = low
    return ints, lows


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def digit_counts(
    bits: Array, chunks: int, infinity: int, width: int, prefix: int, shift: int, digit: int
) -> Array:
    """Per chunk: how often each value of the next digit follows the prefix, among the order-preserving keys."""
    n = bits.size
    counts = np.zeros((chunks, 1 << digit), np.int64)
    sign = np.uint64(1) << np.uint64(width - 1)
    magnitude, last = sign - np.uint64(1), (np.uint64(1) << np.uint64(digit)) - np.uint64(1)
    wanted, down = np.uint64(prefix), np.uint64(shift)
    for chunk in prange(chunks):
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            b = np.uint64(bits[i])
            key = b | sign
            if b & magnitude > infinity:
                key = sign | magnitude  # NaN of either sign comes last
            elif b > sign:
                key = ~b & (sign | magnitude)
            key = key >> down
            if key >> np.uint64(digit) == wanted:
                counts[chunk, key & last] += 1
    return counts


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def count_chunks(values: Array, chunks: int, threshold: float) -> Array:
    """Per chunk: how many values lie below the threshold, and on it."""
    n = values.size
    counts = np.zeros((chunks, 2), np.int64)
    for chunk in prange(chunks):
        below = at = 0
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            below += values[i] < threshold
            at += values[i] == threshold
        counts[chunk] = (below, at)
    return counts


@njit(cache=True)  # type: ignore[untyped-decorator]
def step(x: float, thresholds: Array, steps: Array) -> float:
    """Return the entry of `steps` (pruned, tied, kept, tied_recipient, kept_recipient) for a loss."""
    if x <= thresholds[1]:
        return steps[4] if x < thresholds[0] else steps[3]
    if x < thresholds[0]:
        return steps[2]
    return steps[1] if x == thresholds[0] else steps[0]


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def replace(values: Array, out: Array, thresholds: Array, steps: Array) -> None:
    """Write each sample's step."""
    for i in prange(values.size):
        out[i] = step(values[i], thresholds, steps)


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def smooth(values: Array, old: Array, out: Array, thresholds: Array, steps: Array, a: float) -> None:
    """Write a * old + step, each operation rounded."""
    for i in prange(values.size):
        out[i] = a * old[i] + step(values[i], thresholds, steps)
