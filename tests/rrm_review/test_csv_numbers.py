from __future__ import annotations

import numpy as np
import pytest

from rrm_review.csv_numbers import format_floats, format_integers


def texts(cells):
    return [bytes(row).replace(b"\0", b"").decode() for row in cells]


def bits_of_float32(seed, n):
    """Return float32 of any sign, exponent and mantissa; finite ones mostly."""
    return np.random.default_rng(seed).integers(0, 2**32, n, dtype=np.uint32).view(np.float32)


def assert_reads_back(values):
    with np.errstate(over="ignore"):
        back = np.array(texts(format_floats(values)), np.float64).astype(values.dtype)
    np.testing.assert_array_equal(back, values)
    np.testing.assert_array_equal(np.signbit(back[values == values]), np.signbit(values[values == values]))


@pytest.mark.parametrize("seed", range(4))
def test_float32_of_any_bits_read_back(seed):
    assert_reads_back(bits_of_float32(seed, 50_000))


@pytest.mark.parametrize("seed", range(4))
def test_float32_near_decimal_boundaries_read_back(seed):
    rng = np.random.default_rng(seed)
    powers = np.float32(10.0) ** np.arange(-44, 39, dtype=np.float32)
    near = (powers[:, None].view(np.int32) + np.arange(-40, 41, dtype=np.int32)).view(np.float32).ravel()
    decimals = (rng.integers(1, 10**7, 20_000) * 10.0 ** rng.integers(-12, 6, 20_000)).astype(np.float32)
    halves = (rng.integers(2**24, 2**25, 10_000) * 2.0 ** rng.integers(-40, 40, 10_000)).astype(np.float32)
    assert_reads_back(np.unique(np.concatenate([near, decimals, halves, -decimals])))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_read_back(dtype):
    with np.errstate(over="ignore"):
        values = np.concatenate([bits_of_float32(0, 500).astype(dtype), np.linspace(-2, 2, 500).astype(dtype)])
    assert_reads_back(values)


def test_numbers_are_written_as_people_write_them():
    written = ["0", "1", "0.1", "0.25", "12.5", "1000", "123456", "0.0001", "1e-05", "9.9999e-05", "1e+09", "-0.5"]
    written += ["100000000", "16777216"]
    assert texts(format_floats(np.array(written, np.float32))) == written
    nine_digits = ["0.333333343", "1.11111116", "9.99999968e-21", "3.39999995e+38", "1.40129846e-45"]
    assert texts(format_floats(np.array([1 / 3, 10 / 9, 1e-20, 3.4e38, 1e-45], np.float32))) == nine_digits
    few = np.array([0.1, 10 / 9, np.nan, np.inf, -np.inf, 1], np.float32).repeat(10)
    assert texts(format_floats(few))[::10] == ["0.1", "1.1111112", "nan", "inf", "-inf", "1"]
    assert texts(format_floats(np.array([0.1, 1e22, 2.0]))) == ["0.1", "1e+22", "2"]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_integers_of_any_type(dtype):
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    edges = [10**k + d for k in range(20) for d in (-1, 0, 1) if 10**k + d <= limits.max]
    spread = rng.integers(limits.min, limits.max, 500, dtype=dtype, endpoint=True)
    for values in (np.array([0, *edges], dtype), spread, np.array([limits.min, limits.max], dtype), spread % 10):
        for part in (values, values[values >= 0], values[:1]):
            assert texts(format_integers(part)) == [str(value) for value in part.tolist()]
