"""Checks of array arguments: kind, shape, type, agreement with the losses, and memory that overlaps."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj, is_jax_array, is_torch_array

from ..definition.formats import BY_STORAGE, WEIGHT_FORMATS
from .placement import Argument
from .tensors import check_tensor_kind, is_negated, is_zero_without_memory, memory_of_negated, view_as_numpy


def check_kind(name: str, x: Any) -> None:
    """Raise a TypeError if `x` is not an array with values and memory of its own."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be ignored; pass {name}.compressed()")
    if not is_array_api_obj(x):
        remedy = ""
        if hasattr(x, "__cuda_array_interface__"):
            remedy = f"; pass cupy.asarray({name}) or torch.as_tensor({name}, device='cuda')"
        elif hasattr(x, "to_numpy"):
            remedy = f"; pass {name}.to_numpy()"
        raise TypeError(
            f"{name} must be a one-dimensional array of numbers, of NumPy, pandas, torch, JAX or another library, "
            f"got {type(x).__name__}{remedy}"
        )
    if is_torch_array(x):
        check_tensor_kind(name, x)
    if is_jax_array(x):
        if isinstance(x, sys.modules["jax"].core.Tracer):
            raise TypeError(
                f"{name} is being traced by JAX; use rrm_core.jax.reweight within jit, grad and vmap, or call this on "
                "concrete arrays"
            )
        if x.is_deleted():
            raise ValueError(f"{name} is a JAX array that was deleted or donated; pass an array that has its values")


def check_one_dimensional(name: str, x: Any) -> None:
    """Raise a ValueError if the array `x` is not one-dimensional."""
    if x.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {tuple(x.shape)}")


def check_not_empty(name: str, x: Any) -> None:
    """Raise a ValueError if the one-dimensional array `x` is empty."""
    if x.shape[0] == 0:
        raise ValueError(f"{name} is empty; at least one sample is needed")


def check_weights_match(weights: Argument, losses: Argument) -> None:
    """Raise if old weights lack the framework, device or length that those for `losses` must have, or their type.

    Both types of weights are allowed: `convert_weights` converts the other one.
    """
    if weights.format in WEIGHT_FORMATS:
        weights = weights._replace(format=BY_STORAGE[losses.format.weights])
    check_match(weights, losses)


def check_match(argument: Argument, losses: Argument) -> None:
    """Raise if `argument` lacks the framework, device, type or length that weights for `losses` must have."""
    if argument.placement != losses.placement:
        raise TypeError(
            f"{argument.name} is a {argument.placement}, but losses are a {losses.placement}; use one for both"
        )
    weights = losses.format.weights
    if argument.format.storage != weights:
        raise TypeError(
            f"{argument.name} must be {weights.name} for {losses.format.name} losses, got {argument.format.name}; "
            f"convert it to {weights.name}"
        )
    if argument.n != losses.n:
        raise ValueError(f"{argument.name} must have one entry per loss, got {argument.n:_} for {losses.n:_} losses")


def check_out(out: Argument, losses: Argument, weights: Argument | None) -> None:
    """Raise if `out` cannot be written, or if writing it would overwrite losses or weights before they are read."""
    _check_writable(out)
    if _overlaps_itself(out):
        raise ValueError(f"out overlaps itself in memory: its stride is {_stride(out.array)} bytes")
    if _overlap(out.array, _caller_memory(losses)):
        raise ValueError("out overlaps losses in memory; give it memory of its own")
    if weights is None or out.array is weights.array:
        return
    if _overlap(out.array, weights.array) and _span(out.array) != _span(weights.array):
        raise ValueError("out overlaps weights in part; pass the weights themselves or memory of its own")


def _caller_memory(losses: Argument) -> Any:
    """Return the memory of the caller's losses, as `losses.array` would be without a copy: `out` must not overlap it.

    Losses in foreign byte order, and those that torch negates when they are read, were copied.
    """
    if isinstance(losses.original, np.ndarray):
        return losses.original
    if is_negated(losses.original):
        memory = memory_of_negated(losses.original)
        return view_as_numpy(memory) if losses.placement.on_host else memory
    return losses.array


def _check_writable(out: Argument) -> None:
    kind = out.placement.kind
    if kind is not None and not kind.is_writable:
        raise TypeError(f"out can't be a {kind.label}, which is not written in place; leave it out to get a new one")
    if is_negated(out.original):
        raise ValueError("out is negated by torch whenever it is read; pass out.resolve_neg(), or leave it out")
    if is_zero_without_memory(out.original):
        raise ValueError("out is a tensor of zeros without memory; pass torch.zeros, or leave it out")
    framework = out.placement.framework
    if framework == "jax":
        raise ValueError("out can't be a JAX array, which is immutable; leave it out to get a new array")
    read_only = False
    if isinstance(out.array, np.ndarray):
        read_only = not out.array.flags.writeable
    elif out.placement.on_cuda and framework != "torch":
        read_only = out.array.__cuda_array_interface__["data"][1]
    if read_only:
        raise ValueError("out is read-only; leave it out to get a new array")
    if framework == "numpy" and not out.original.dtype.isnative:
        raise ValueError(f"out must be of native byte order, got {out.original.dtype}; leave it out to get a new array")
    if framework == "torch" and out.original.requires_grad:
        raise ValueError("out requires a gradient, which weights have no use for; pass out.detach()")


def _overlaps_itself(out: Argument) -> bool:
    stride = _stride(out.array)
    return out.n > 1 and stride is not None and abs(stride) < out.format.storage.itemsize


def _stride(x: Any) -> int | None:
    if isinstance(x, np.ndarray):
        return x.strides[0]
    return _span(x)[2]


def _overlap(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        # The second function is exact, but can take long.
        return np.may_share_memory(a, b) and np.shares_memory(a, b)
    start, stop, _ = _span(a)
    other_start, other_stop, _ = _span(b)
    return start < other_stop and other_start < stop


def _span(x: Any) -> tuple[int, int, int | None]:
    """Return the first address, the end address and the stride in bytes; the object's id if it has no address."""
    if is_torch_array(x):
        pointer = x.data_ptr()
        stride = x.stride(0) * x.element_size()
        size = x.element_size()
    else:
        interface = getattr(x, "__cuda_array_interface__", None) or getattr(x, "__array_interface__", None)
        if interface is None:
            return id(x), id(x) + 1, None
        pointer = interface["data"][0]
        size = x.dtype.itemsize
        stride = (interface.get("strides") or (size,))[0]
    last = pointer + (x.shape[0] - 1) * stride
    return min(pointer, last), max(pointer, last) + size, stride
