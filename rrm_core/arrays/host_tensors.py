"""Tensors of TensorFlow, Paddle and MLX, which have no array-API namespace that works. None of them is imported here.

Those on a device are copied to the host, and the weights back to the device.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .host_kind import HostValues


def read_tensorflow(name: str, x: Any) -> HostValues:
    """Return the values of an eager tensor or a variable of TensorFlow."""
    if not sys.modules["tensorflow"].executing_eagerly():
        raise TypeError(f"{name} is read in a tf.function; {TENSORFLOW_REMEDY}")
    values = np.asarray(x)
    return HostValues(values, values.dtype)


TENSORFLOW_REMEDY = (
    "call this outside of it, or through tf.numpy_function(lambda losses: rrm_core.reweight(losses, ...)[0], "
    "[losses], tf.float32)"
)


def rebuild_tensorflow(weights: Any, like: Any) -> Any:
    """Return weights as a tensor on the device of `like`.

    They are copied: TensorFlow ends the process at the first use of a tensor whose memory is not aligned to 64 bytes.
    """
    tensorflow = sys.modules["tensorflow"]
    with tensorflow.device(like.device):
        return tensorflow.convert_to_tensor(weights)


def device_of_tensorflow(x: Any) -> str:
    """Return type and number of a tensor's device."""
    return str(x.device).rpartition("device:")[2].lower()


def read_paddle(name: str, x: Any) -> HostValues:
    """Return the values of a Paddle tensor; of bfloat16 the bits."""
    if not x.is_dense():
        raise TypeError(f"{name} must be a dense tensor, got a sparse one; pass {name}.to_dense()")
    plain = x.detach()
    if not x.place.is_cpu_place():
        plain = plain.cpu()
    if str(x.dtype) == "paddle.bfloat16":
        return HostValues(np.from_dlpack(plain.view("int16")).view(np.uint16), "bfloat16")
    values = np.from_dlpack(plain)
    return HostValues(values, values.dtype)


def rebuild_paddle(weights: Any, like: Any) -> Any:
    """Return weights as a tensor on the device of `like`, on the CPU without a copy."""
    paddle = sys.modules["paddle"]
    if like.place.is_cpu_place():
        return paddle.from_dlpack(weights)
    return paddle.to_tensor(weights, place=like.place)


def device_of_paddle(x: Any) -> str:
    """Return the place of a tensor."""
    return str(x.place).removeprefix("Place(").removesuffix(")")


def read_mlx(name: str, x: Any) -> HostValues:
    """Return the values of an MLX array; of bfloat16 the bits."""
    mlx = sys.modules["mlx.core"]
    is_bfloat16 = x.dtype == mlx.bfloat16
    values = x.view(mlx.uint16) if is_bfloat16 else x
    try:
        # In MLX 0.32.0 to 0.32.3, an error while NumPy evaluates the array corrupts the interpreter.
        mlx.eval(values)
        values = np.asarray(values)
    except (RuntimeError, ValueError) as error:
        raise TypeError(f"{name} can't be evaluated ({error}); call this outside mx.compile and mx.vmap") from error
    return HostValues(values, "bfloat16" if is_bfloat16 else values.dtype)


def rebuild_mlx(weights: Any, like: Any) -> Any:  # noqa: ARG001
    """Return a copy of the weights as an MLX array."""
    mlx = sys.modules["mlx.core"]
    return mlx.array(weights, dtype=mlx.float64 if weights.dtype == np.float64 else mlx.float32)
