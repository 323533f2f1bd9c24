"""The compiled loops of the Numba backend. Importing this module imports Numba.

Arrays are contiguous, float32 or float64. Without fastmath Numba neither reorders nor fuses a floating-point operation.

The innermost loops are written so that LLVM vectorises them: over slices, so that no index can be negative; without
branches; with 32-bit counters, where Numba would take 64; and writing to no array that might overlap another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import config, prange

# Imported again by numba_runtime, which does not import Numba itself.
from numba import get_num_threads as get_num_threads
from numba import set_num_threads as set_num_threads

from ..definition.formats import Array
from .numba_compile import compiled

BLOCK = 4096  # losses that stay in the first-level cache while several loops read them; a multiple of 8
DIGIT_BITS = 11  # leading bits of a key, by which radix selection counts; the counts fit the first-level cache


@compiled()
def draw_sample(values: Array, size: int) -> Array:
    """Return one value from each of `size` equal parts, at a pseudo-random offset: periodic data cannot bias it."""
    stride = np.uint64(values.size // size)
    state = np.uint64(0x9E3779B97F4A7C15)
    sample = np.empty(size, values.dtype)
    for i in range(size):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        sample[i] = values[np.uint64(i) * stride + (state >> np.uint64(33)) % stride]
    return sample


@compiled()
def count_block(block: Array, low: float, high: float, lowest: float, inside: Array) -> tuple[int, int, int, int, int]:
    """Return the number of values below `low`, up to `low`, equal to `high`, up to `lowest`, and finite.

    `inside` is set to 1 for each value strictly between the pivots, else to 0.
    """
    n_below = n_up_to = n_high = n_up_to_lowest = n_finite = np.int32(0)
    for i in range(block.size):
        x = block[i]
        n_below = np.int32(n_below + (x < low))
        n_up_to = np.int32(n_up_to + (x <= low))
        n_high = np.int32(n_high + (x == high))
        n_up_to_lowest = np.int32(n_up_to_lowest + (x <= lowest))
        n_finite = np.int32(n_finite + (abs(x) < np.inf))
        inside[i] = (x > low) & (x < high)
    return int(n_below), int(n_up_to), int(n_high), int(n_up_to_lowest), int(n_finite)


@compiled()
def count_equal(block: Array, value: float) -> int:
    """Return the number of values equal to `value`; if it is NaN, the number of NaN."""
    n = np.int32(0)
    if value != value:
        for i in range(block.size):
            n = np.int32(n + (block[i] != block[i]))
    else:
        for i in range(block.size):
            n = np.int32(n + (block[i] == value))
    return int(n)


@compiled()
def first_equal(block: Array, value: float) -> int:
    """Return the first index of `value`, or of NaN if it is NaN; the size of the block if there is none."""
    for i in range(block.size):
        if block[i] == value or (value != value and block[i] != block[i]):
            return i
    return block.size


@compiled()
def append_inside(block: Array, inside: Array, row: Array, size: int) -> int:
    """Append the values between the pivots to the first `size` values of `row`; return the new size, -1 if full."""
    words = inside.view(np.uint64)[: block.size // 8]
    for word in range(words.size):
        # Few words have a mark. Which of their eight values have one cannot be predicted, so that loop has no branch.
        if words[word]:
            if size + 8 > row.size:
                return -1
            for i in range(8):
                row[size] = block[8 * word + i]
                size += inside[8 * word + i]
    for i in range(8 * words.size, block.size):
        if inside[i]:
            if size == row.size:
                return -1
            row[size] = block[i]
            size += 1
    return size


@compiled()
def scan_chunk(
    values: Array, chunk: int, n_chunks: int, low: float, high: float, lowest: float, row: Array, counts: Array
) -> float:
    """Scan every `n_chunks`-th block, which balances the chunks also for sorted values; return their minimum.

    `lowest` is one of all values, or inf. Values between the pivots are collected in `row`, as long as it has room.
    """
    n = values.size
    first_nan = first_neg_inf = n
    n_nan = n_neg_inf = n_pos_inf = n_below = n_up_to = n_high = n_lowest = size = full = 0
    inside = np.zeros(BLOCK, np.uint8)
    for start in range(chunk * BLOCK, n, n_chunks * BLOCK):
        block = values[start : min(start + BLOCK, n)]
        below, up_to, at_high, up_to_lowest, finite = count_block(block, low, high, lowest, inside)
        n_below += below
        n_up_to += up_to
        n_high += at_high
        if not full:
            new_size = append_inside(block, inside, row, size)
            full = int(new_size < 0)
            size = max(new_size, 0)
        if up_to_lowest:
            equal = count_equal(block, lowest)
            if equal < up_to_lowest:
                n_lowest = 0
                for i in range(block.size):
                    lowest = min(lowest, block[i])
                equal = count_equal(block, lowest)
            n_lowest += equal
        if finite < block.size:
            nan = count_equal(block, np.nan)
            neg_inf = count_equal(block, -np.inf)
            if nan and not n_nan:
                first_nan = start + first_equal(block, np.nan)
            if neg_inf and not n_neg_inf:
                first_neg_inf = start + first_equal(block, -np.inf)
            n_nan += nan
            n_neg_inf += neg_inf
            n_pos_inf += block.size - finite - nan - neg_inf
    counts[:] = (
        first_nan, first_neg_inf, n_nan, n_neg_inf, n_pos_inf, n_below, n_up_to, n_high, full, size, n_lowest
    )  # fmt: skip
    return lowest


@compiled(parallel=True)
def scan(
    values: Array, n_chunks: int, low: float, high: float, lowest: float, candidates: Array
) -> tuple[Array, Array]:
    """Return, for each chunk, the counts of `scan_chunk` and the minimum."""
    counts = np.zeros((n_chunks, 11), np.int64)
    minima = np.empty(n_chunks, values.dtype)
    for chunk in prange(n_chunks):
        minima[chunk] = scan_chunk(values, chunk, n_chunks, low, high, lowest, candidates[chunk], counts[chunk])
    return counts, minima


@compiled()
def step(x: float, thresholds: tuple[float, float], steps: tuple[float, ...]) -> Any:
    """Return the element of `steps` (pruned, tied, kept, tied_recipient, kept_recipient) for a loss."""
    below = x < thresholds[0]
    if x <= thresholds[1]:
        return steps[4] if below else steps[3]
    return steps[2] if below else (steps[1] if x == thresholds[0] else steps[0])


@compiled()
def replace_part(values: Array, out: Array, thresholds: tuple[float, float], steps: tuple[float, ...]) -> None:
    """Write the step of each sample."""
    for i in range(values.size):
        out[i] = step(values[i], thresholds, steps)


@compiled(parallel=True)
def replace(
    values: Array, out: Array, n_chunks: int, thresholds: tuple[float, float], steps: tuple[float, ...]
) -> None:
    """Write the step of each sample, in parallel."""
    n = values.size
    for chunk in prange(n_chunks):
        start = chunk * n // n_chunks
        stop = (chunk + 1) * n // n_chunks
        replace_part(values[start:stop], out[start:stop], thresholds, steps)


@compiled()
def smooth_part(
    values: Array,
    old_weights: Array,
    new: Array,
    thresholds: tuple[float, float],
    steps: tuple[float, ...],
    a: float,
) -> int:
    """Write a * old weight + step of each sample, each operation rounded; return the number of invalid old weights."""
    n_valid = np.int32(0)
    for i in range(values.size):
        old = old_weights[i]
        n_valid = np.int32(n_valid + ((old >= 0) & (old < np.inf)))
        new[i] = a * old + step(values[i], thresholds, steps)
    return values.size - int(n_valid)


@compiled()
def first_invalid(old_weights: Array) -> int:
    """Return the index of the first weight that is NaN, infinite or negative; there must be one."""
    i = 0
    while old_weights[i] >= 0 and old_weights[i] < np.inf:
        i += 1
    return i


@compiled(parallel=True)
def smooth(
    values: Array,
    old_weights: Array,
    out: Array,
    n_chunks: int,
    thresholds: tuple[float, float],
    steps: tuple[float, ...],
    a: Any,
) -> tuple[Array, Array]:
    """Write a * old weight + step of each sample, in parallel; through a buffer, since `out` may be `old_weights`.

    Returns
    -------
    counts : int64 array of shape (n_chunks, 2)
        Number of old weights of each chunk that are NaN, infinite or negative, and the index of the first.
    first_values : array of shape (n_chunks,)
        That first one.
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
            n_invalid = smooth_part(values[start:stop], old_weights[start:stop], new, thresholds, steps, a)
            if n_invalid:
                if not counts[chunk, 0]:
                    counts[chunk, 1] = start + first_invalid(old_weights[start:stop])
                    first_values[chunk] = old_weights[counts[chunk, 1]]
                counts[chunk, 0] += n_invalid
            out[start:stop] = new
    return counts, first_values


@compiled()
def key_of(bits: int, sign: np.uint64, infinity: np.uint64) -> np.uint64:
    """Return the order-preserving key of a float's bits: -0 is equal to +0, and NaN of either sign is last."""
    b = np.uint64(bits)
    magnitude = sign - np.uint64(1)
    if b & magnitude > infinity:
        return sign | magnitude
    return ~b & (sign | magnitude) if b > sign else b | sign


@compiled()
def count_digits_part(bits: Array, infinity: np.uint64, counts: Array) -> None:
    """Add to `counts` the number of keys with each leading digit."""
    width = 8 * bits.itemsize
    sign = np.uint64(1) << np.uint64(width - 1)
    shift = np.uint64(width - DIGIT_BITS)
    for i in range(bits.size):
        counts[key_of(bits[i], sign, infinity) >> shift] += 1


@compiled(parallel=True)
def count_digits(bits: Array, n_chunks: int, infinity: np.uint64) -> Array:
    """Return, for each chunk, the number of keys with each leading digit."""
    n = bits.size
    counts = np.zeros((n_chunks, 1 << DIGIT_BITS), np.int64)
    for chunk in prange(n_chunks):
        count_digits_part(bits[chunk * n // n_chunks : (chunk + 1) * n // n_chunks], infinity, counts[chunk])
    return counts


@compiled()
def collect_keys_part(bits: Array, infinity: np.uint64, digit: np.uint64, candidates: Array) -> None:
    """Write the keys with a leading digit to `candidates`, as long as it has room."""
    width = 8 * bits.itemsize
    sign = np.uint64(1) << np.uint64(width - 1)
    shift = np.uint64(width - DIGIT_BITS)
    size = 0
    for i in range(bits.size):
        key = key_of(bits[i], sign, infinity)
        if key >> shift == digit and size < candidates.size:
            candidates[size] = key
            size += 1


@compiled(parallel=True)
def collect_keys(
    bits: Array, n_chunks: int, infinity: np.uint64, digit: np.uint64, starts: Array, ends: Array, candidates: Array
) -> None:
    """Write the keys with a leading digit to `candidates`, each chunk's between its start and its end."""
    n = bits.size
    for chunk in prange(n_chunks):
        part = bits[chunk * n // n_chunks : (chunk + 1) * n // n_chunks]
        collect_keys_part(part, infinity, digit, candidates[starts[chunk] : ends[chunk]])


def check_compiler() -> None:
    """Raise an error unless Numba compiles functions. No thread is started."""
    if getattr(config, "DISABLE_JIT", 0):
        raise RuntimeError("NUMBA_DISABLE_JIT is set, and NumPy is faster than interpreted loops")
    if first_equal(np.ones(1, np.float32), 1.0) != 0:
        raise RuntimeError("a compiled function returned a wrong result")
