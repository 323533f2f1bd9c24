"""Tensors of Paddle: read and returned without a copy on the CPU."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import paddle
import pytest

import rrm_core
from rrm_core.arrays import host_tensors
from support.array_kinds import RULE, N, assert_parts_and_groups_are_read, assert_result_is_in_kind
from support.families import assert_same_bits, losses, old_weights

C = losses("exponential", N, "float32")
W = old_weights(N, "float32")


def make(values):
    if values.dtype == ml_dtypes.bfloat16:
        return paddle.to_tensor(values.view(np.int16)).view("bfloat16")
    return paddle.to_tensor(values)


def to_numpy(tensor):
    values = tensor.numpy()
    return values.view(ml_dtypes.bfloat16) if values.dtype == np.uint16 else values


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensor_gives_a_tensor(dtype):
    backends = (None, "numpy", "numba") if dtype == "bfloat16" else (None, "numpy", "array_api")
    assert_result_is_in_kind(make, to_numpy, dtype, backends=backends)


def test_tensors_in_parts_groups_and_estimates():
    assert_parts_and_groups_are_read(paddle.to_tensor, to_numpy)


def test_losses_with_a_gradient_and_strided_ones():
    parameter = paddle.to_tensor(C, stop_gradient=False)
    weights, _ = rrm_core.reweight(parameter * 1, **RULE)
    assert weights.stop_gradient
    assert weights.place.is_cpu_place()
    expected, _ = rrm_core.reweight(C, **RULE)
    assert_same_bits(weights.numpy(), expected)
    strided = paddle.to_tensor(np.repeat(C, 2))[::2]
    assert_same_bits(rrm_core.reweight(strided, **RULE)[0].numpy(), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_memory_is_not_copied(dtype):
    tensor = make(losses("exponential", N, dtype))
    values, _ = host_tensors.read_paddle("losses", tensor)
    assert values.__array_interface__["data"][0] == tensor.data_ptr()
    weights = np.ones(N, np.float32)
    assert host_tensors.rebuild_paddle(weights, tensor).data_ptr() == weights.__array_interface__["data"][0]


def test_bfloat16_is_refused_by_the_array_api_backend_and_by_streams():
    tensor = make(losses("exponential", N, "bfloat16"))
    with pytest.raises(TypeError, match="losses is a Paddle tensor of bfloat16, which backend='array_api' can't read"):
        rrm_core.plan(tensor, backend="array_api", **RULE)
    with pytest.raises(
        TypeError, match="losses is a Paddle tensor of bfloat16, a type that NumPy does not have; convert"
    ):
        rrm_core.stream.plan(tensor, **RULE)


def test_other_kinds_are_refused_with_a_remedy():
    tensor = paddle.to_tensor(C)
    with pytest.raises(TypeError, match=re.escape("got a sparse one; pass losses.to_dense()")):
        rrm_core.plan(tensor.to_sparse_coo(1), **RULE)
    with pytest.raises(TypeError, match="losses must be float16, bfloat16, float32 or float64, got int64; convert"):
        rrm_core.plan(paddle.to_tensor([1, 2]), **RULE)
    with pytest.raises(
        TypeError, match="weights is a numpy array on cpu, but losses are a Paddle tensor on cpu; use one"
    ):
        rrm_core.reweight(tensor, W, mu=0.5, **RULE)
    with pytest.raises(TypeError, match="out can't be a Paddle tensor, which is not written in place; leave it out"):
        rrm_core.reweight(tensor, out=paddle.to_tensor(W), **RULE)


def test_tensors_of_a_static_program_are_refused():
    paddle.enable_static()
    try:
        with paddle.static.program_guard(paddle.static.Program()):
            symbolic = paddle.static.data("losses", [N], "float32")
            with pytest.raises(TypeError, match="losses is a symbolic tensor of a Paddle program, got"):
                rrm_core.plan(symbolic, **RULE)
    finally:
        paddle.disable_static()
