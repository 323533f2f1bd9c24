"""The loops of the numba backend. Importing this module imports Numba.

Arrays are contiguous, float32 or float64. Without fastmath Numba neither reorders nor fuses a floating-point operation.

The innermost loops are such that LLVM works on many losses at once: over slices, so that no index can be negative;
without a branch; counting in 32 bits, where Numba would take 64; and writing to no array that might overlap another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numba import set_num_threads as set_num_threads  # for the backend, which doesn't import Numba itself

from ..definition.formats import Array

BLOCK = 4096  # losses that stay in the first-level cache while several loops look at them; a multiple of 8
DIGIT = 11  # leading bits of a key that radix selection tells apart first; their counts fit the first-level cache


@njit(cache=True)
def draw(values: Array, size: int) -> Array:
    """Return one value from each of `size` equal parts, at a place that looks random, lest periods mislead."""
    stride, state, sample = np.uint64(values.size // size), np.uint64(0x9E3779B97F4A7C15), np.empty(size, values.dtype)
    for i in range(size):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        sample[i] = values[np.uint64(i) * stride + (state >> np.uint64(33)) % stride]
    return sample


@njit(cache=True)
def look(block: Array, low: float, high: float, lowest: float, inside: Array) -> tuple[int, int, int, int, int]:
    """Count values below `low`, up to it, on `high`, up to `lowest`, and finite; mark those between the pivots."""
    below = upto = at_high = upto_lowest = finite = np.int32(0)
    for i in range(block.size):
        x = block[i]
        below = np.int32(below + (x < low))
        upto = np.int32(upto + (x <= low))
        at_high = np.int32(at_high + (x == high))
        upto_lowest = np.int32(upto_lowest + (x <= lowest))
        finite = np.int32(finite + (abs(x) < np.inf))
        inside[i] = (x > low) & (x < high)
    return int(below), int(upto), int(at_high), int(upto_lowest), int(finite)


@njit(cache=True)
def count_equal(block: Array, value: float) -> int:
    """Return how many values equal `value`; if it is NaN, how many are NaN."""
    n = np.int32(0)
    if value != value:
        for i in range(block.size):
            n = np.int32(n + (block[i] != block[i]))
    else:
        for i in range(block.size):
            n = np.int32(n + (block[i] == value))
    return int(n)


@njit(cache=True)
def first_equal(block: Array, value: float) -> int:
    """Return the first index of `value`, or of NaN if it is NaN; the size if there is none."""
    for i in range(block.size):
        if block[i] == value or (value != value and block[i] != block[i]):
            return i
    return block.size


@njit(cache=True)
def pack(block: Array, inside: Array, row: Array, m: int) -> int:
    """Append the marked values to the first `m` of `row`; return their new number, or -1 where there is no room."""
    words = inside.view(np.uint64)[: block.size // 8]
    for word in range(words.size):
        if words[word]:  # few hold a mark; which of their places do can't be predicted, so no branch there
            if m + 8 > row.size:
                return -1
            for i in range(8):
                row[m] = block[8 * word + i]
                m += inside[8 * word + i]
    for i in range(8 * words.size, block.size):
        if inside[i]:
            if m == row.size:
                return -1
            row[m] = block[i]
            m += 1
    return m


@njit(cache=True)
def scan_chunk(
    values: Array, chunk: int, chunks: int, low: float, high: float, lowest: float, row: Array, counts: Array
) -> float:
    """Scan every `chunks`-th block, so that each chunk gets its part also of sorted values; return their minimum.

    `lowest`, where it starts, is one of all values or inf. What lies between the pivots goes to `row`, if it has room.
    """
    n = values.size
    first_nan = first_low = n
    n_nan = n_low = n_inf = n_below = n_upto = n_high = n_lowest = m = full = 0
    inside = np.zeros(BLOCK, np.uint8)
    for start in range(chunk * BLOCK, n, chunks * BLOCK):
        block = values[start : min(start + BLOCK, n)]
        below, upto, at_high, upto_lowest, finite = look(block, low, high, lowest, inside)
        n_below += below
        n_upto += upto
        n_high += at_high
        if not full:
            reached = pack(block, inside, row, m)
            full = int(reached < 0)
            m = max(reached, 0)
        if upto_lowest:
            at = count_equal(block, lowest)
            if at < upto_lowest:
                n_lowest = 0
                for i in range(block.size):
                    lowest = min(lowest, block[i])
                at = count_equal(block, lowest)
            n_lowest += at
        if finite < block.size:
            nan, minus = count_equal(block, np.nan), count_equal(block, -np.inf)
            if nan and not n_nan:
                first_nan = start + first_equal(block, np.nan)
            if minus and not n_low:
                first_low = start + first_equal(block, -np.inf)
            n_nan += nan
            n_low += minus
            n_inf += block.size - finite - nan - minus
    counts[:] = (first_nan, first_low, n_nan, n_low, n_inf, n_below, n_upto, n_high, full, m, n_lowest)
    return lowest


@njit(parallel=True, cache=True)
def scan(values: Array, chunks: int, low: float, high: float, lowest: float, candidates: Array) -> tuple[Array, Array]:
    """Per chunk: what `scan_chunk` counts, and the minimum."""
    counts, lows = np.zeros((chunks, 11), np.int64), np.empty(chunks, values.dtype)
    for chunk in prange(chunks):
        lows[chunk] = scan_chunk(values, chunk, chunks, low, high, lowest, candidates[chunk], counts[chunk])
    return counts, lows


@njit(cache=True)
def step(x: float, thresholds: tuple[float, float], steps: tuple[float, ...]) -> Any:
    """Return the one of `steps` (pruned, tied, kept, tied_recipient, kept_recipient) for a loss."""
    below = x < thresholds[0]
    if x <= thresholds[1]:
        return steps[4] if below else steps[3]
    return steps[2] if below else (steps[1] if x == thresholds[0] else steps[0])


@njit(cache=True)
def replace_part(values: Array, out: Array, thresholds: tuple[float, float], steps: tuple[float, ...]) -> None:
    """Write each sample's step."""
    for i in range(values.size):
        out[i] = step(values[i], thresholds, steps)


@njit(parallel=True, cache=True)
def replace(values: Array, out: Array, chunks: int, thresholds: tuple[float, float], steps: tuple[float, ...]) -> None:
    """Write each sample's step, in parallel."""
    n = values.size
    for chunk in prange(chunks):
        start, stop = chunk * n // chunks, (chunk + 1) * n // chunks
        replace_part(values[start:stop], out[start:stop], thresholds, steps)


@njit(cache=True)
def smooth_part(
    values: Array, old: Array, new: Array, thresholds: tuple[float, float], steps: tuple[float, ...], a: float
) -> None:
    """Write a * old + step, each operation rounded."""
    for i in range(values.size):
        new[i] = a * old[i] + step(values[i], thresholds, steps)


@njit(parallel=True, cache=True)
def smooth(
    values: Array,
    old: Array,
    out: Array,
    chunks: int,
    thresholds: tuple[float, float],
    steps: tuple[float, ...],
    a: Any,
) -> None:
    """Write a * old + step, in parallel, and by way of a block of memory between since `out` may be `old`."""
    n = values.size
    for chunk in prange(chunks):
        block, end = np.empty(BLOCK, out.dtype), (chunk + 1) * n // chunks
        for start in range(chunk * n // chunks, end, BLOCK):
            stop = min(start + BLOCK, end)
            new = block[: stop - start]
            smooth_part(values[start:stop], old[start:stop], new, thresholds, steps, a)
            out[start:stop] = new


def smallest(values: Array, rank: int) -> float:
    """Return the `rank`-th smallest value, NaN ranking last: by radix selection, in two passes whatever the values are.

    Numba's integers widen to 64 bits and mixed ones turn to float64, hence the uniform use of uint64 for keys.
    """
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
