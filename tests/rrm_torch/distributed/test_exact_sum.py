from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rrm_torch.distributed.exact_sum import FixedPoint

CASES = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "of both signs": lambda rng, n: rng.normal(size=n),
    "one heavy": lambda rng, n: np.where(np.arange(n) == 7, 2e5, rng.random(n)),
    "tiny": lambda rng, n: 1e-42 * rng.random(n),
    "huge": lambda rng, n: 1e38 * rng.random(n),
    "none": lambda rng, n: np.zeros(n),
}


def total(x, n, top, cuts):
    fixed_point = FixedPoint(top, n)
    return fixed_point.value(
        sum(int(fixed_point.multiples(torch.from_numpy(part)).sum()) for part in np.split(x, cuts))
    )


@pytest.mark.parametrize("case", CASES)
def test_sum_is_accurate_and_independent_of_order(case):
    rng, n = np.random.default_rng(0), 200_001
    x = CASES[case](rng, n).astype(np.float32)
    top = float(np.abs(x).max())
    sums = {total(rng.permutation(x), n, top, np.sort(rng.integers(0, n, k))) for k in (0, 1, 5)}
    (found,) = sums
    right = math.fsum(x.astype(np.float64))
    assert abs(found - right) <= n * 2.0**-37 * top
    if case == "exponential":
        assert found == pytest.approx(right, rel=1e-12)


def test_many_large_numbers_do_not_overflow():
    n = 2**40
    fixed_point = FixedPoint(3.0, n)
    (multiple,) = fixed_point.multiples(torch.tensor([3.0])).tolist()
    assert fixed_point.value(multiple) == 3.0
    assert multiple * n < 2**63
