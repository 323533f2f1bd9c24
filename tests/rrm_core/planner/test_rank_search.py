"""Parts of a multi-pass selection: keys, rank ranges, and the counting kernels against those of NumPy."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from rrm_core.backends import cpp, registry
from rrm_core.backends import numpy as reference
from rrm_core.backends.numpy_keys import keys_of
from rrm_core.definition.counting import BIN_BITS, BINS, FIRST_NAN, FIRST_NEG_INF, MISSING, N, empty_counts
from rrm_core.definition.formats import BY_NAME, FLOAT32, FLOAT64, widen
from rrm_core.definition.key_arrays import decode_keys, encode_keys
from rrm_core.planner.rank_search import PivotCount, RankRange
from support.families import FAMILIES, assert_same_bits, losses
from support.tuned import AVAILABLE, tuned

FORMATS = tuple(BY_NAME.values())
WIDE = (FLOAT32, FLOAT64)
SIZES = (1, 63, 64, 65, 2047, 2048, 2049, 4097, 10_007)
THREADS = (1, 2, 3, 7)

by_name = {"argvalues": FORMATS, "ids": lambda format: format.name}


def stored(family, n, format):
    """Return losses of a family as backends take them: bfloat16 as its bits."""
    return losses(family, n, format.name).view(format.storage)


def special_bits(format):
    """Return the bits of numbers around the limits of subnormals, bins and infinity, of both signs."""
    infinity, normal = (1 << format.width - format.precision) - 1 << format.precision - 1, 1 << format.precision - 1
    magnitudes = [0, 1, 2, normal - 1, normal, normal + 1, infinity - 1, infinity]
    magnitudes += [x << shift for x in (1, 3) for shift in (15, 16, 31, 32, 47) if shift < format.width - 2]
    return sorted({m | sign for m in magnitudes if m <= infinity for sign in (0, 1 << format.width - 1)})


def numbers(format, bits):
    return np.array(bits, f"u{format.storage.itemsize}").view(format.storage)


@pytest.mark.parametrize("format", **by_name)
def test_keys_match_the_reference_and_decode(format):
    bits = range(1 << 16) if format.width == 16 else special_bits(format)
    given = numbers(format, bits)
    keys, values = keys_of(given), widen(given)
    number = ~np.isnan(values)
    for key, value in zip(keys[number].tolist(), values[number].tolist(), strict=True):
        assert format.key(value) == key
        assert repr(format.decode(key)) == repr(value + 0.0)  # -0 is 0
    assert_array_equal(np.argsort(keys[number], kind="stable"), np.argsort(values[number], kind="stable"))
    wide = keys[number].astype(np.uint64)
    assert_array_equal(decode_keys(wide, format), values[number])
    assert_array_equal(encode_keys(values[number].astype(np.float64), format), wide)
    assert (keys[~number] == (1 << format.width) - 1).all()


@pytest.mark.parametrize("format", **by_name)
def test_keys_of_subnormals_while_torch_flushes_them_to_zero(format):
    keys = [format.key(0.0) + i for i in (-3, -2, 0, 1, 2, 1000)]
    expected = [format.decode(key) for key in keys]
    assert torch.set_flush_denormal(True)
    try:
        found = [format.decode(key) for key in keys]
        again = [format.key(x) for x in found]
    finally:
        torch.set_flush_denormal(False)
    assert found == expected
    assert again == keys


def test_rank_range_narrows_to_a_bin():
    counts = np.zeros(BINS, np.int64)
    counts[[7, 9, BINS - 1]] = 3, 2, 5
    narrowed = {rank: RankRange(rank, 1 << 32, 32, 2, 10).narrow(counts) for rank in (3, 5, 6, 7, 8, 12)}
    assert {rank: (s.first - (1 << 32)) >> BIN_BITS for rank, s in narrowed.items()} == {
        3: 7, 5: 7, 6: 9, 7: 9, 8: BINS - 1, 12: BINS - 1
    }  # fmt: skip
    assert {(s.width, s.resolved) for s in narrowed.values()} == {(16, False)}
    assert (narrowed[6].n_below, narrowed[6].n_inside, narrowed[12].n_below, narrowed[12].n_inside) == (5, 2, 7, 5)


def test_rank_range_resolves_and_ignores_keys_outside():
    keys = np.array([5, 70_000, 65_536, 65_540, 65_540, 131_072], np.uint64)
    target = RankRange(12, 65_536, 16, n_below=10, n_inside=4)
    assert target.resolve(keys) == RankRange(12, 65_540, 0, 11, 2)
    assert target.resolve(keys).resolved
    assert RankRange(14, 65_536, 16, n_below=10, n_inside=4).resolve(keys).key == 70_000


def test_pivot_is_resolved_once_counted():
    assert not PivotCount(7).resolved
    assert PivotCount(7, 0, 0).resolved


def some_counts(n_histograms):
    """Return counts to which a pass adds."""
    counts = empty_counts(n_histograms)
    counts[N:] = np.arange(len(counts) - N)
    return counts


def assert_same_first_pass(c, first, label, threads=1):
    expected = some_counts(1)
    found = some_counts(1)
    for _ in range(2):
        assert reference.count_first_pass(c, first, expected) is None
        assert cpp.count_first_pass(c, first, found, threads) is None
        assert_array_equal(found, expected, err_msg=label)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("format", **by_name)
@pytest.mark.parametrize("family", FAMILIES)
def test_first_pass_matches_numpy(family, format, name):
    with tuned(name):
        for i, (n, threads) in enumerate(product(SIZES, THREADS)):
            c = stored(family, n + 1, format)[i % 2 :][:n]  # also at unaligned addresses
            if family == "NaN" and n > 3:
                c[n // 2] = numbers(format, special_bits(format)[-1])  # -inf
                assert math.isinf(widen(c)[n // 2])
            assert_same_first_pass(c, 10**12 * (i % 3), f"{n=} {threads=}", threads)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("format", **by_name)
@pytest.mark.parametrize("min_piece", [2048, 8192])  # a block at a time, or several
def test_index_of_the_first_nan_and_the_first_negative_infinity(min_piece, format, name):
    sign, n = 1 << format.width - 1, 30_000
    bad = {FIRST_NAN: numbers(format, [2 * sign - 1]), FIRST_NEG_INF: numbers(format, [special_bits(format)[-1]])}
    with tuned(name, min_piece=min_piece):
        for field, place, threads in product(bad, (0, 31, 2047, 2048, 5003, 8191, 20_001, n - 1), THREADS):
            c = np.full(n, numbers(format, [format.key(1.0) ^ sign])[0])
            c[[place, n - 1]] = bad[field]
            found = empty_counts(1)
            cpp.count_first_pass(c, 1000, found, threads)
            assert found[field] == 1000 + place, f"{field} {place=} {threads=}"
            assert sorted([found[FIRST_NAN], found[FIRST_NEG_INF]])[1] == MISSING


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("format", **by_name)
def test_first_pass_of_nan_only_and_of_runs(format, name):
    sign = 1 << format.width - 1
    nan, one, two = numbers(format, [2 * sign - 1, format.key(1.0) ^ sign, format.key(2.0) ^ sign])
    with tuned(name):
        for n, threads in product((1, 31, 32, 33, 2048, 5000), THREADS):
            assert_same_first_pass(np.full(n, nan, format.storage), 3, f"{n=} {threads=}", threads)
            runs = np.where(np.arange(n) // 40 % 2, one, two).astype(format.storage)
            runs[n - 1] = nan
            assert_same_first_pass(runs, 3, f"{n=} {threads=}", threads)


def edges(format):
    """Return key ranges as (first, last, shift) at both ends of the keys and around zero."""
    width = format.width - BIN_BITS
    found = []
    for narrow in range(width, 0, -BIN_BITS):
        keys = [format.key(x) for x in (0.0, math.inf, -format.largest, format.largest, 0.7, -1.5)]
        keys += [format.key(0.0) - 1, format.key(0.0) + 1]
        for key in keys:
            first = key >> narrow << narrow
            found.append((first, first + (1 << narrow) - 1, narrow - BIN_BITS))
    return sorted(set(found))


def assert_same_later_pass(c, intervals, points, keep, label, threads):
    def count_twice(backend):
        counts = empty_counts(0 if keep else len(intervals))
        memory = [np.full(min(len(c), 100), 9, np.uint64) for _ in intervals] if keep else []
        for part in (c[: len(c) // 3], c[len(c) // 3 :]):
            assert backend.count_pass(part, intervals, memory, points, counts, threads) is None
        return counts, memory

    expected, expected_keys = count_twice(reference)
    found, found_keys = count_twice(cpp)
    assert_array_equal(found, expected, err_msg=label)
    for keys, keys_of_reference in zip(found_keys, expected_keys, strict=True):
        assert_array_equal(keys, keys_of_reference, err_msg=label)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("format", WIDE, ids=lambda format: format.name)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("flush", [False, True], ids=["subnormal", "flushed"])
def test_later_pass_matches_numpy(flush, family, format, name):
    around = numbers(format, special_bits(format))
    every = edges(format)
    points = [format.key(x) for x in (0.0, math.inf, -format.largest, 0.7)] + [format.key(0.0) + i for i in (-2, 1)]
    torch.set_flush_denormal(flush)
    try:
        with tuned(name):
            for i, (n, first) in enumerate(product(SIZES, every)):
                c = stored(family, n + 1, format)[i % 2 :][:n]
                c[: len(around)] = around[: len(c)]
                second = every[(i * 7 + 3) % len(every)]
                intervals = [[first], [first, second], []][i % 3]
                asked = [points[i % len(points)], points[(i // 2) % len(points)]][: i % 4]
                for threads in (1, 3) if n > 2048 else (2,):
                    label = f"{n=} {intervals=} {asked=} {threads=}"
                    assert_same_later_pass(c, intervals, asked, i % 2 == 0, label, threads)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("format", WIDE, ids=lambda format: format.name)
def test_later_pass_with_all_losses_in_one_bin(format, name):
    n, one = 5000, format.key(1.0)
    c = np.where(np.arange(n) % 97 == 0, 1 + 2.0 ** (1 - format.precision), 1.0).astype(format.storage)
    with tuned(name):
        for keep, threads in product((False, True), THREADS):
            assert_same_later_pass(
                c, [(one >> 16 << 16, (one >> 16 << 16) + 65_535, 0)], [one], keep, f"{keep=}", threads
            )


@pytest.mark.parametrize("name", AVAILABLE)
@pytest.mark.parametrize("format", **by_name)
@pytest.mark.parametrize("family", ["NaN", "all bit patterns"])
def test_checksums_match_numpy_and_add_up(family, format, name):
    with tuned(name):
        for n in (0, *SIZES):
            c = stored(family, n + 1, format)[1:]
            words = c.view(np.uint16 if c.itemsize == 2 else np.uint32)
            assert cpp.checksum(c) == reference.checksum(c) == sum(words.tolist()) % 2**32
            assert (cpp.checksum(c[: n // 3]) + cpp.checksum(c[n // 3 :])) % 2**32 == cpp.checksum(c)
            assert cpp.checksum(c[::-2]) == reference.checksum(c[::-2])


def test_losses_are_not_modified():
    c = losses("NaN", 5000, "float32")
    before = c.copy()
    c.flags.writeable = False
    for backend in (cpp, reference):
        backend.count_first_pass(c, 0, empty_counts(1), 2)
        backend.count_pass(c, edges(FLOAT32)[:1], [], [FLOAT32.key(0.7)], empty_counts(1), 2)
        backend.checksum(c)
    assert_same_bits(c, before)


def test_choose_counting_backend():
    assert registry.choose_counting(None) is registry.choose_counting("cpp")
    assert registry.choose_counting("numpy").count_first_pass is reference.count_first_pass
    for name in ("numba", "array_api", "cuda", "rust"):
        with pytest.raises(ValueError, match=rf"^backend must be one of 'cpp', 'numpy' or None, got '{name}'$"):
            registry.choose_counting(name)
