"""Test inputs: families of losses, types, sizes and rules.

Random losses rarely tie, never overflow and spread over all buckets of a radix selection. Each family below has one
property that random losses lack.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from rrm_core import Plan, reweight

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Declared, not discovered: tests fail, and are not skipped, if a backend is missing.
COMPILED = ("cpp", "numba")
BACKENDS = ("cpp", "numba", "numpy", "array_api")

DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}

SMALL = (1, 2, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025)
# Around the sizes at which kernels use another block or another strategy.
BLOCKS = (2047, 2048, 2049, 4095, 4096, 4097)
LARGE = 100_003


def losses(family: str, n: int, dtype: str) -> np.ndarray:
    """Return `n` losses of a family and type, the same in every call. bfloat16 is the type of ml_dtypes."""
    rng = np.random.default_rng([n, zlib.crc32(family.encode())])
    values = FAMILIES[family](n, rng, DTYPES[dtype])
    with np.errstate(over="ignore"):
        values = values.astype(DTYPES[dtype])
    assert values.shape == (n,)
    return values


def old_weights(n: int, dtype: str) -> np.ndarray:
    """Return previous weights for losses of type `dtype`."""
    rng = np.random.default_rng(n)
    return rng.exponential(size=n).astype(np.float64 if dtype == "float64" else np.float32)


def _exponential(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return rng.exponential(size=n)


def _negative(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return rng.normal(-3.0, 2.0, size=n)


def _constant(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return np.full(n, 0.7)


def _ascending(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return np.sort(rng.exponential(size=n))


def _descending(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return np.sort(rng.exponential(size=n))[::-1]


def _few_distinct(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return rng.choice([-1.5, 0.25, 0.3, 2.0], size=n)


def _minimum_repeated(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return np.where(rng.random(n) < 0.4, 0.125, 0.125 + rng.exponential(size=n))


def _capped(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    # More than half of the losses are equal to the cap on average.
    return np.minimum(rng.exponential(size=n), 0.6)


def _one_huge(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    values = rng.exponential(size=n)
    values[rng.integers(n)] = float(ml_dtypes.finfo(dtype).max)
    return values


def _infinities(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    values = np.where(rng.random(n) < 0.3, np.inf, rng.exponential(size=n))
    # At least one loss is finite.
    values[rng.integers(n)] = 1.5
    return values


def _not_numbers(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    nan_of_either_sign = np.where(rng.random(n) < 0.5, np.nan, -np.nan)
    values = np.where(rng.random(n) < 0.2, nan_of_either_sign, rng.exponential(size=n))
    values[rng.random(n) < 0.1] = np.inf
    values[rng.integers(n)] = 0.5
    return values


def _zeros_of_both_signs(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    return rng.choice([-0.0, 0.0, 0.0, 1.0, -1.0], size=n, p=[0.4, 0.3, 0.1, 0.15, 0.05])


def _unsigned(dtype: np.dtype) -> tuple[np.dtype, int]:
    """Return the unsigned type of the same size, and the explicit bits of the significand."""
    return np.dtype(f"u{dtype.itemsize}"), ml_dtypes.finfo(dtype).nmant


def _subnormal(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    unsigned, mantissa = _unsigned(dtype)
    bits = rng.integers(0, 1 << mantissa, size=n, dtype=np.uint64).astype(unsigned).view(dtype)
    return np.where(rng.random(n) < 0.5, bits, -bits)


def _same_leading_bits(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    unsigned, mantissa = _unsigned(dtype)
    low = rng.integers(0, 1 << (mantissa // 2), size=n, dtype=np.uint64).astype(unsigned)
    return (np.ones(n, dtype).view(unsigned) | low).view(dtype)


def _all_bit_patterns(n: int, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    unsigned, _ = _unsigned(dtype)
    bits = rng.integers(0, np.iinfo(unsigned).max, size=n, dtype=unsigned, endpoint=True)
    infinity, half = (np.array(x, dtype).view(unsigned) for x in (np.inf, 0.5))
    # NaN and infinities are replaced.
    return np.where(bits & infinity == infinity, half, bits).view(dtype)


FAMILIES: dict[str, Callable[[int, np.random.Generator, np.dtype], np.ndarray]] = {
    "exponential": _exponential,
    "negative": _negative,
    "constant": _constant,
    "ascending": _ascending,
    "descending": _descending,
    "few distinct": _few_distinct,
    "minimum repeated": _minimum_repeated,
    "capped": _capped,
    "one huge": _one_huge,
    "infinities": _infinities,
    "NaN": _not_numbers,
    "zeros of both signs": _zeros_of_both_signs,
    "subnormal": _subnormal,
    "same leading bits": _same_leading_bits,
    "all bit patterns": _all_bit_patterns,
}

THRESHOLDS: tuple[dict[str, Any], ...] = (
    *(
        {"contamination": contamination, "ties": ties}
        for contamination, ties in product((0.0, 0.1, 0.29, 0.5, 0.97), ("keep", "share"))
    ),
    {"gamma": 0.0},
    {"gamma": 0.7},
    {"gamma": float("inf")},
)
REDISTRIBUTE = ("argmin", 0.1, 1.0, "kept", "drop")
# mu, and whether there are previous weights.
SMOOTHING = ((1.0, False), (0.3, False), (0.3, True), (1.0, True))


def reweight_cases(family: str) -> Iterator[tuple[dict[str, Any], float, bool]]:
    """Yield every rule (as keywords of `reweight`), with a step size mu and whether to pass previous weights."""
    policy = {"nan": "prune"} if family == "NaN" else {}
    for i, (threshold, redistribute) in enumerate(product(THRESHOLDS, REDISTRIBUTE)):
        # The smoothing cases alternate, shifted by one for each threshold, so that each meets every redistribution.
        mu, with_old = SMOOTHING[(i + i // len(REDISTRIBUTE)) % len(SMOOTHING)]
        yield threshold | {"redistribute": redistribute} | policy, mu, with_old


@lru_cache(maxsize=64)
def reference(family: str, n: int, dtype: str) -> list[tuple[np.ndarray, Plan]]:
    """Return weights and plan of the numpy backend for each of the `reweight_cases`."""
    c, w = losses(family, n, dtype), old_weights(n, dtype)
    return [
        reweight(c, w if with_old else None, mu=mu, backend="numpy", **rule)
        for rule, mu, with_old in reweight_cases(family)
    ]


def assert_same_bits(actual: Any, expected: np.ndarray, label: str = "") -> None:
    """Assert that two arrays have the same type, shape and bits: -0.0 differs from 0.0, and a NaN equals itself."""
    actual = np.asarray(actual)
    assert actual.dtype == expected.dtype, label
    # Most comparisons end here: NumPy's own takes as long as a reweight of a small array.
    if actual.shape == expected.shape and actual.tobytes() == expected.tobytes():
        return
    unsigned = f"u{expected.dtype.itemsize}"
    np.testing.assert_array_equal(
        np.ascontiguousarray(actual).view(unsigned), np.ascontiguousarray(expected).view(unsigned), err_msg=label
    )
