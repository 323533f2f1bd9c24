"""Arrays of MLX: read without a copy where the memory is the host's."""

from __future__ import annotations

import re

import ml_dtypes
import mlx.core as mx
import numpy as np
import pytest

import rrm_core
from rrm_core.arrays import kinds
from support.array_kinds import RULE, N, assert_parts_and_groups_are_read, assert_result_is_in_kind
from support.families import assert_same_bits, losses, old_weights

C = losses("exponential", N, "float32")
W = old_weights(N, "float32")


def make(values):
    if values.dtype == ml_dtypes.bfloat16:
        return mx.array(values.view(np.uint16)).view(mx.bfloat16)
    return mx.array(values, dtype=getattr(mx, "bool_" if values.dtype == bool else values.dtype.name))


def to_numpy(array):
    if array.dtype == mx.bfloat16:
        return np.asarray(array.view(mx.uint16)).view(ml_dtypes.bfloat16)
    return np.asarray(array)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_array_gives_an_array(dtype):
    backends = (None, "numpy", "numba") if dtype == "bfloat16" else (None, "numpy", "array_api")
    with mx.stream(mx.cpu):
        assert_result_is_in_kind(make, to_numpy, dtype, backends=backends)


def test_arrays_in_parts_groups_and_estimates():
    assert_parts_and_groups_are_read(make, to_numpy)


def test_losses_that_are_not_evaluated_yet():
    lazy = mx.array(C) * 1 + 0
    assert_same_bits(np.asarray(rrm_core.reweight(lazy, **RULE)[0]), rrm_core.reweight(C, **RULE)[0])


def test_losses_are_read_in_place():
    array = mx.array(C)
    address = np.asarray(array).__array_interface__["data"][0]
    assert kinds.as_array("losses", array).__array_interface__["data"][0] == address


def test_arrays_in_a_transformation():
    expected, _ = rrm_core.reweight(C, **RULE)

    def weighted_mean(c):
        return (c * rrm_core.reweight(c, **RULE)[0]).mean()

    gradient = mx.grad(weighted_mean)(mx.array(C))
    assert_same_bits(np.asarray(gradient), np.asarray(mx.array(expected) * mx.array(np.float32(1 / N))))
    message = "losses can't be evaluated ([eval] Attempting to eval an array during function transformations"
    for transformed in (mx.compile(weighted_mean), lambda c: mx.vmap(weighted_mean)(c[None])):
        with pytest.raises(TypeError, match=re.escape(message)) as caught:
            transformed(mx.array(C))
        assert str(caught.value).endswith("; call this outside mx.compile and mx.vmap")


def test_other_kinds_are_refused_with_a_remedy():
    array = mx.array(C)
    with pytest.raises(TypeError, match="losses must be float16, bfloat16, float32 or float64, got int32; convert"):
        rrm_core.plan(mx.array([1, 2]), **RULE)
    with pytest.raises(TypeError, match="weights is a numpy array on cpu, but losses are a MLX array on cpu; use one"):
        rrm_core.reweight(array, W, mu=0.5, **RULE)
    with pytest.raises(TypeError, match="out can't be a MLX array, which is not written in place; leave it out"):
        rrm_core.reweight(array, out=mx.array(W), **RULE)
    with pytest.raises(TypeError, match="losses is a MLX array of bfloat16, which backend='array_api' can't read"):
        rrm_core.plan(array.astype(mx.bfloat16), backend="array_api", **RULE)
