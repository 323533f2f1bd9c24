"""The loops of the numba backend. Importing this module imports Numba.

Arrays are contiguous, float32 or float64. Without fastmath Numba neither reorders nor fuses a floating-point operation.
Its integers widen to 64 bits and mixed ones turn to float64, hence the uniform use of uint64 for keys.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange

from ..formats import Array

DIGIT = 11  # leading bits of a key that the first pass tells apart; their counts fit the first-level cache


def smallest(values: Array, rank: int) -> float:
    """Return the `rank`-th smallest value, NaN ranking last."""
    bits, chunks = values.view(f"u{values.dtype.itemsize}"), get_num_threads()
    infinity = np.uint64(np.array(np.inf, values.dtype).view(bits.dtype))
    counts = digit_counts(bits, chunks, infinity)
    upto = counts.sum(axis=0).cumsum()
    digit = int(np.searchsorted(upto, rank))
    ends = counts[:, digit].cumsum()
    candidates = np.empty(ends[-1], bits.dtype)
    gather(bits, chunks, infinity, np.uint64(digit), ends - counts[:, digit], ends, candidates)
    k = rank - int(upto[digit] - candidates.size) - 1
    key, sign = int(np.partition(candidates, k)[k]), 1 << (8 * bits.itemsize - 1)
    pattern = key ^ sign if key & sign else key ^ (2 * sign - 1)
    return float(np.array(pattern, bits.dtype).view(values.dtype))


def scan(values: Array) -> tuple[int, int, int, int, int, float]:
    """Return number and first index of NaN and of -inf, number of +inf, and the minimum."""
    ints, lows = scan_chunks(values, get_num_threads())
    n_nan, n_low, n_inf = (int(column.sum()) for column in ints[:, :3].T)
    first_nan, first_low = (int(column.min()) for column in ints[:, 3:].T)
    return n_nan, first_nan, n_low, first_low, n_inf, float(lows.min()) + 0.0  # never -0.0


def count(values: Array, threshold: float, recipient_threshold: float) -> tuple[int, int, int]:
    """Return how many values lie below the threshold, on it, and up to the recipients' threshold."""
    t, r = (values.dtype.type(x) for x in (threshold, recipient_threshold))
    below, at, receive = count_chunks(values, get_num_threads(), t, r).sum(axis=0)
    return int(below), int(at), int(receive)


@njit(parallel=True, cache=True)
def scan_chunks(values: Array, chunks: int) -> tuple[Array, Array]:
    """Per chunk: number of NaN, -inf and +inf, first NaN and -inf; and the minimum."""
    n = values.size
    ints, lows = np.zeros((chunks, 5), np.int64), np.full(chunks, np.inf, values.dtype)
    for chunk in prange(chunks):
        n_nan = n_low = n_inf = 0
        first_nan = first_low = n
        low = lows[chunk]
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            x = values[i]
            low = min(low, x)
            if not abs(x) < np.inf:
                if x != x:
                    n_nan += 1
                    first_nan = min(first_nan, i)
                elif x > 0:
                    n_inf += 1
                else:
                    n_low += 1
                    first_low = min(first_low, i)
        ints[chunk] = (n_nan, n_low, n_inf, first_nan, first_low)
        lows[chunk] = low
    return ints, lows


@njit(cache=True)
def key_of(bits: int, sign: np.uint64, infinity: np.uint64) -> np.uint64:
    """Return the order-preserving key of a float's bits: -0 like +0, NaN of either sign last."""
    b, magnitude = np.uint64(bits), sign - np.uint64(1)
    if b & magnitude > infinity:
        return sign | magnitude
    return ~b & (sign | magnitude) if b > sign else b | sign


@njit(parallel=True, cache=True)
def digit_counts(bits: Array, chunks: int, infinity: np.uint64) -> Array:
    """Per chunk: how often each leading digit occurs among the keys."""
    n, width = bits.size, 8 * bits.itemsize
    counts = np.zeros((chunks, 1 << DIGIT), np.int64)
    sign, shift = np.uint64(1) << np.uint64(width - 1), np.uint64(width - DIGIT)
    for chunk in prange(chunks):
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            digit = key_of(bits[i], sign, infinity) >> shift
            counts[chunk, digit] += 1
    return counts


@njit(parallel=True, cache=True)
def gather(
    bits: Array, chunks: int, infinity: np.uint64, digit: np.uint64, starts: Array, ends: Array, candidates: Array
) -> None:
    """Write the keys with a leading digit, each chunk's to its own place, and never beyond it."""
    n, width = bits.size, 8 * bits.itemsize
    sign, shift = np.uint64(1) << np.uint64(width - 1), np.uint64(width - DIGIT)
    for chunk in prange(chunks):
        m = starts[chunk]
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            key = key_of(bits[i], sign, infinity)
            if key >> shift == digit and m < ends[chunk]:
                candidates[m] = key
                m += 1


@njit(parallel=True, cache=True)
def count_chunks(values: Array, chunks: int, threshold: float, recipient_threshold: float) -> Array:
    """Per chunk: how many values lie below the threshold, on it, and up to the recipients' threshold."""
    n = values.size
    counts = np.zeros((chunks, 3), np.int64)
    for chunk in prange(chunks):
        below = at = receive = 0
        for i in range(chunk * n // chunks, (chunk + 1) * n // chunks):
            below += values[i] < threshold
            at += values[i] == threshold
            receive += values[i] <= recipient_threshold
        counts[chunk] = (below, at, receive)
    return counts


@njit(cache=True)
def step(x: float, thresholds: Array, steps: Array) -> Any:
    """Return the entry of `steps` (pruned, tied, kept, tied_recipient, kept_recipient) for a loss."""
    if x <= thresholds[1]:
        return steps[4] if x < thresholds[0] else steps[3]
    if x < thresholds[0]:
        return steps[2]
    return steps[1] if x == thresholds[0] else steps[0]


@njit(parallel=True, cache=True)
def replace(values: Array, out: Array, thresholds: Array, steps: Array) -> None:
    """Write each sample's step."""
    for i in prange(values.size):
        out[i] = step(values[i], thresholds, steps)


@njit(parallel=True, cache=True)
def smooth(values: Array, old: Array, out: Array, thresholds: Array, steps: Array, a: float) -> None:
    """Write a * old + step, each operation rounded."""
    for i in prange(values.size):
        out[i] = a * old[i] + step(values[i], thresholds, steps)
