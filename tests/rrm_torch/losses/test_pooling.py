from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from rrm_torch.losses.pooling import batch_mean, pool

# pool


@given(data=st.data(), n=st.integers(0, 4), inner=st.sampled_from([(), (1,), (3,), (2, 2), (0,)]))
def test_pool_against_plain_python(data, n, inner):
    size = n * math.prod(inner)
    # Halves, so that sums are exact.
    values = data.draw(st.lists(st.integers(-9, 9).map(lambda v: v / 2), min_size=size, max_size=size))
    mask = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    losses_ = torch.tensor(values).reshape(n, *inner)
    mask_ = torch.tensor(mask).bool().reshape(n, *inner)
    rows = losses_.reshape(n, math.prod(inner)).tolist()
    masks = mask_.reshape(n, math.prod(inner)).tolist()
    kept = [[v for v, m in zip(row, ms, strict=True) if m] for row, ms in zip(rows, masks, strict=True)]
    functions = {"mean": lambda row: sum(row) / len(row), "sum": sum, "max": max}
    for how, function in functions.items():
        assert_close(
            pool(losses_, how=how), torch.tensor([float(function(r)) if r else math.nan for r in rows]), equal_nan=True
        )
        assert_close(
            pool(losses_, mask_, how),
            torch.tensor([float(function(r)) if r else math.nan for r in kept]),
            equal_nan=True,
        )


@pytest.mark.parametrize("how", ["mean", "sum", "max"])
def test_pool_excludes_masked_nan_from_value_and_gradient(how):
    values = torch.tensor([[1.0, math.nan, 3.0], [math.inf, math.nan, math.nan]]).requires_grad_()
    actual = pool(values, torch.tensor([[True, False, True], [False] * 3]), how)
    assert_close(actual, torch.tensor([{"mean": 2.0, "sum": 4.0, "max": 3.0}[how], math.nan]), equal_nan=True)
    (gradient,) = torch.autograd.grad(actual.sum(), values)
    expected = {"mean": [0.5, 0, 0.5], "sum": [1, 0, 1], "max": [0, 0, 1]}[how]
    assert_close(gradient, torch.tensor([expected, [0, 0, 0]], dtype=torch.float32))


def test_pool_rejects_bad_arguments():
    with pytest.raises(ValueError, match="pool must be one of mean, sum, max, got 'median'"):
        pool(torch.zeros(2, 3), how="median")
    with pytest.raises(ValueError, match=r"losses must have shape \(batch, \.\.\.\), got \(\); .*reduction='none'"):
        pool(torch.zeros(()))
    with pytest.raises(ValueError, match=r"mask must have the shape of losses, \(2, 3\), got \(2,\)"):
        pool(torch.zeros(2, 3), torch.ones(2).bool())
    with pytest.raises(TypeError, match="mask must be a tensor, got list"):
        pool(torch.zeros(1, 2), [[True, False]])
    assert pool(torch.full((1, 4), 60_000.0, dtype=torch.float16), how="sum").item() == 240_000


def test_pool_rejects_complex_losses():
    with pytest.raises(TypeError, match=r"losses must be real numbers, got torch\.complex64"):
        pool(torch.ones(2, 3, dtype=torch.complex64))


# batch_mean


@pytest.mark.parametrize("regularizer", [None, torch.linspace(0, 1, 37)], ids=["losses", "and a regularizer"])
def test_batch_mean_equals_torch(regularizer):
    losses = torch.rand(37, generator=torch.Generator().manual_seed(0)).requires_grad_()
    terms = losses if regularizer is None else losses + regularizer
    actual = batch_mean(losses, regularizer)
    assert_close(actual, terms.mean(), rtol=0, atol=0)
    gradients = [torch.autograd.grad(value, losses)[0] for value in (actual, terms.mean())]
    assert_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize("regularizer", [None, torch.tensor([0.5, 7.0, 0.25])], ids=["losses", "and a regularizer"])
def test_batch_mean_leaves_out_nan(regularizer):
    losses = torch.tensor([1.0, math.nan, 3.0]).requires_grad_()
    actual = batch_mean(losses, regularizer)
    assert actual.item() == (2.0 if regularizer is None else 2.375)
    (gradient,) = torch.autograd.grad(actual, losses)
    assert gradient.tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("losses", [torch.zeros(0), torch.full((3,), math.nan)], ids=["empty", "all NaN"])
def test_batch_mean_of_nothing_is_zero_with_a_graph(losses):
    actual = batch_mean(losses.requires_grad_())
    assert actual == 0
    (gradient,) = torch.autograd.grad(actual, losses)
    assert_close(gradient, torch.zeros_like(losses))


def test_batch_mean_of_half_precision_does_not_overflow():
    assert batch_mean(torch.full((100,), 1000.0, dtype=torch.float16)) == 1000
