"""Tensors of TensorFlow: read without a copy on the CPU; the weights are a tensor on the same device."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import rrm_core
from rrm_core.arrays import kinds
from support.array_kinds import RULE, N, assert_parts_and_groups_are_read, assert_result_is_in_kind
from support.families import assert_same_bits, losses, old_weights

C = losses("exponential", N, "float32")
W = old_weights(N, "float32")


def to_numpy(tensor):
    return tensor.numpy()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensor_gives_a_tensor(dtype):
    assert_result_is_in_kind(tf.constant, to_numpy, dtype)


def test_tensors_in_parts_groups_and_estimates():
    assert_parts_and_groups_are_read(tf.constant, to_numpy)


def test_variables_give_tensors():
    variable = tf.Variable(C)
    weights, _ = rrm_core.reweight(variable, tf.Variable(W), mu=0.3, **RULE)
    assert tf.is_tensor(weights)
    assert weights.device == variable.device
    assert_same_bits(weights.numpy(), rrm_core.reweight(C, W, mu=0.3, **RULE)[0])


def test_losses_are_read_in_place():
    tensor = tf.constant(C)
    address = np.asarray(tensor).__array_interface__["data"][0]
    assert kinds.as_array("losses", tensor).__array_interface__["data"][0] == address


@pytest.mark.parametrize("n", [1, 3, 7, 100, 1001])
def test_weights_are_usable_in_tensorflow(n):
    """TensorFlow aborts on tensors whose memory is not aligned to 64 bytes."""
    weights, _ = rrm_core.reweight(tf.constant(losses("exponential", n, "float32")), contamination=0.2)
    expected = weights.numpy().astype(np.float64).sum() * 3
    assert float(tf.reduce_sum(tf.cast(weights * 2.0 + weights, tf.float64))) == pytest.approx(expected)


def test_tensors_in_a_function_are_refused_and_the_remedy_works():
    variable = tf.Variable(C)

    @tf.function
    def traced(tensor):
        return rrm_core.reweight(tensor, **RULE)[0]

    @tf.function
    def remedy(losses):
        return tf.numpy_function(lambda losses: rrm_core.reweight(losses, **RULE)[0], [losses], tf.float32)

    message = "call this outside of it, or through tf.numpy_function(lambda losses: rrm_core.reweight(losses, ...)[0], "
    for tensor, what in (
        (tf.constant(C), "a symbolic tensor in a tf.function, got SymbolicTensor"),
        (variable, "read in a"),
    ):
        with pytest.raises(TypeError) as caught:
            traced(tensor)
        assert f"losses is {what}" in str(caught.value)
        assert message in str(caught.value)
    assert_same_bits(remedy(tf.constant(C)).numpy(), rrm_core.reweight(C, **RULE)[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: tf.ragged.constant([[1.0, 2.0], [3.0]]),
            "losses is a ragged tensor, got RaggedTensor; pass losses.flat_values",
        ),
        (
            lambda: tf.sparse.from_dense(C),
            "losses is a sparse tensor, got SparseTensor; pass tf.sparse.to_dense(losses)",
        ),
        (lambda: tf.constant(["a"]), "got object; convert them to float32"),
        (lambda: tf.constant([1, 2]), "got int32; convert them to float32"),
        (lambda: keras.Variable(C), "losses is a Keras variable, got Variable; pass losses.value"),
        (
            lambda: keras.KerasTensor((3,)),
            "losses is a symbolic tensor of a Keras model, got KerasTensor; call this on",
        ),
    ],
)
def test_other_kinds_are_refused_with_a_remedy(make, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        rrm_core.plan(make(), **RULE)


def test_tensors_and_numpy_are_not_mixed():
    tensor = tf.constant(C)
    with pytest.raises(
        TypeError, match="weights is a numpy array on cpu, but losses are a TensorFlow tensor on cpu:0; use"
    ):
        rrm_core.reweight(tensor, W, mu=0.5, **RULE)
    with pytest.raises(
        TypeError, match="weights is a TensorFlow tensor on cpu:0, but losses are a numpy array on cpu; use"
    ):
        rrm_core.reweight(C, tensor, mu=0.5, **RULE)
    with pytest.raises(
        TypeError, match="out can't be a TensorFlow tensor, which is not written in place; leave it out"
    ):
        rrm_core.reweight(tensor, out=tf.Variable(W), **RULE)
