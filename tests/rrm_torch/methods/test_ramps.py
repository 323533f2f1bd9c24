from __future__ import annotations

import math

import pytest

from rrm_torch.methods.ramps import exponential_ramp, linear_ramp


@pytest.mark.parametrize(("progress", "expected"), [(-1, 0), (0, 0), (4, 0.25), (16, 1), (40, 1)])
def test_linear_ramp_stays_within_0_and_1(progress, expected):
    assert linear_ramp(progress, 16) == expected


@pytest.mark.parametrize(
    ("progress", "length", "expected"), [(0, 8, math.exp(-5)), (4, 8, math.exp(-1.25)), (8, 8, 1), (9, 8, 1), (0, 0, 1)]
)
def test_exponential_ramp_ends_at_1(progress, length, expected):
    assert exponential_ramp(progress, length) == pytest.approx(expected)
