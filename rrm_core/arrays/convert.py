"""Conversion of array arguments for the backends, and of their results to the caller's framework and device.

NumPy arrays, and torch tensors and JAX arrays on the CPU, become NumPy views of the same memory. Other array-API
arrays are passed on as they are. Arrays outside the array API, such as pandas Series, become NumPy arrays, see `kinds`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from array_api_compat import (
    array_namespace,
    is_array_api_obj,
    is_numpy_array,
    is_torch_array,
)

from ..definition.float_errors import ignore_float_errors
from ..definition.formats import BFLOAT16, BY_NAME, BY_STORAGE, PLAIN, Array, Format
from ..definition.host_copy import copy_to_host
from .checks import check_kind, check_not_empty, check_one_dimensional
from .host_kind import HostKind, HostValues
from .kinds import as_array, read_values
from .placement import NUMPY, Argument, Placement, placement_of, torch_on_cpu
from .tensors import plain_tensor, view_as_numpy


def to_argument(name: str, x: Any, *, native: bool, list_type: Any = None) -> Argument:
    """Return the array `x`, an argument called `name`, checked and converted.

    Parameters
    ----------
    native : bool
        Leave host arrays in their framework, for the array-API backend.
    list_type : np.dtype, optional
        Type to which lists and tuples of numbers are converted; without it they are refused.

    Raises
    ------
    TypeError
        `x` is not an array of one of the four floating-point types.
    ValueError
        `x` is not one-dimensional, or it is empty.
    """
    if isinstance(x, (list, tuple)) and list_type is not None:
        x = _from_list(name, x, list_type)
    read = read_values(name, x)
    if read is not None:
        return _from_values(name, x, *read, native)
    check_kind(name, x)
    check_one_dimensional(name, x)
    check_not_empty(name, x)
    placement = placement_of(x, native)
    format = format_of(name, x.dtype)
    array = x
    if placement.framework == "numpy":
        array = np.asarray(x, x.dtype.newbyteorder("="))
    elif placement.framework == "torch":
        array = plain_tensor(x)
    if placement.on_host:
        array = _numpy_view(array, format)
    return Argument(name, x, array, placement, format, int(x.shape[0]))


def _from_values(name: str, x: Any, kind: HostKind, read: HostValues, native: bool) -> Argument:
    """Return an array outside the array API as an argument."""
    values, dtype = read
    check_one_dimensional(name, values)
    check_not_empty(name, values)
    format = format_of(name, dtype)
    if isinstance(dtype, str):
        # The bits of bfloat16.
        if native:
            raise TypeError(
                f"{name} is a {kind.label} of {dtype}, which backend='array_api' can't read; leave backend out"
            )
        argument = Argument(name, values, values, NUMPY, format, len(values))
    else:
        argument = to_argument(name, values, native=native)
    placement = replace(argument.placement, framework=kind.framework, device=kind.device_of(x), kind=kind, like=x)
    return argument._replace(placement=placement)


def format_of(name: str, dtype: Any) -> Format:
    """Return the format of elements of a type; raise a TypeError if it is not one of the four."""
    if isinstance(dtype, np.dtype):
        dtype = dtype.newbyteorder("=")
    format = BY_NAME.get(str(dtype).rpartition(".")[2])
    if format is None:
        remedy = "convert them to float32"
        if isinstance(dtype, str) or getattr(dtype, "kind", "") in tuple("SUMm"):
            remedy = "pass one real number per sample"
        if "complex" in str(dtype):
            remedy = "pass one real number per sample, such as their absolute values"
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {dtype}; {remedy}")
    return format


def to_host(name: str, x: Any) -> tuple[Any, Format]:
    """Return a NumPy view of the argument `x` and its format; of an array on a device, a copy. It may be empty.

    Raises
    ------
    TypeError, ValueError
        As `to_argument`.
    """
    view = _plain_view(x)
    if view is not None:
        return view, BY_STORAGE[view.dtype]
    if isinstance(x, (list, tuple)) and not x:
        x = np.empty(0)
    read = read_values(name, x)
    if read is not None:
        values, dtype = read[1]
        if isinstance(dtype, str) or values.shape == (0,):
            check_one_dimensional(name, values)
            format = format_of(name, dtype)
            return _numpy_view(values, format), format
        x = values
    if is_array_api_obj(x):
        check_kind(name, x)
    if getattr(x, "shape", None) == (0,) and is_array_api_obj(x):
        # An array of one sample stands in for the empty one, so that its framework and type are checked.
        format_of(name, x.dtype)
        one_sample = array_namespace(x).zeros(1, dtype=x.dtype)
        format = to_argument(name, one_sample, native=False).format
        return np.empty(0, format.storage), format
    argument = to_argument(name, x, native=False, list_type=np.float64)
    if argument.placement.on_host:
        return argument.array, argument.format
    return _numpy_view(copy_to_host(argument.array), argument.format), argument.format


def to_numpy(name: str, x: Any) -> Array:
    """Return an array of any type of numbers, framework and device, or a list, as a NumPy array.

    Raises
    ------
    TypeError, ValueError
        The array has no values that can be read.
    """
    x = as_array(name, x)
    if not is_array_api_obj(x):
        return np.asarray(x)
    check_kind(name, x)
    if is_numpy_array(x):
        return np.asarray(x)
    if is_torch_array(x):
        x = plain_tensor(x)
        torch = sys.modules["torch"]
        if x.dtype is torch.bfloat16:
            # NumPy does not have this type.
            x = x.to(torch.float32)
    return np.asarray(copy_to_host(x))


def wrap_like(array: Any, placement: Placement) -> Any:
    """Return a backend's result as an array of the framework and on the device of `placement`."""
    if placement is NUMPY:
        return array
    if placement.on_host and placement.framework == "torch":
        return sys.modules["torch"].from_numpy(array)
    if placement.on_host and placement.framework == "jax":
        return sys.modules["jax"].device_put(array, placement.device)
    if placement.kind is not None:
        return placement.kind.rebuild(array, placement.like)
    return array


def mark_written(out: Any, placement: Placement) -> None:
    """Increment the version of a torch tensor, so that autograd refuses a gradient that needs its old values."""
    if placement is not NUMPY and placement.framework == "torch" and not out.is_inference():
        sys.modules["torch"].autograd.graph.increment_version(out)


def host_views(
    losses: Any, weights: Any | None, out: Any | None
) -> tuple[Any, Any | None, Any | None, Placement] | None:
    """Return NumPy views of `losses`, `weights` and `out`, and the placement of the losses, for the usual arguments.

    The usual arguments are NumPy arrays, or torch tensors on the CPU, of one class. For others, and for an `out` that
    requires a gradient, the result is None, and `to_argument` and the checks convert or refuse them. Shapes, types and
    memory remain to be checked. For the usual arguments, `to_argument` and the checks would take ten times as long,
    and longer than it takes to reweight a few hundred samples.
    """
    kind = type(losses)
    if (weights is not None and type(weights) is not kind) or (out is not None and type(out) is not kind):
        return None
    if kind is np.ndarray:
        # The backends would take uint16 for bfloat16.
        return (losses, weights, out, NUMPY) if losses.dtype in _NUMPY_TYPES else None
    view_of = _VIEWS.get(kind) or _view_function(kind)
    view = view_of(losses)
    if view is None:
        return None
    old = memory = None
    if weights is not None:
        old = view_of(weights)
        if old is None:
            return None
    if out is not None:
        memory = old if out is weights else view_of(out)
        if memory is None or out.requires_grad:
            return None
    return view, old, memory, torch_on_cpu()


def _plain_view(x: Any) -> Any | None:
    """Return a NumPy view of a contiguous, aligned vector in host memory; None for anything else."""
    view = (_VIEWS.get(type(x)) or _view_function(type(x)))(x)
    return view if view is not None and view.ndim == 1 and len(view) and view.flags.num & PLAIN == PLAIN else None


def _view_of_numpy(x: Any) -> Any | None:
    return x if x.dtype in _NUMPY_TYPES else None


def _no_view(_: Any) -> None:
    return None


def _view_function(kind: type) -> Callable[[Any], Any | None]:
    """Return the function that views arrays of a type as NumPy arrays; remember it for torch's types."""
    if kind.__module__ not in ("torch", "torch.nn.parameter"):
        return _no_view
    torch = sys.modules["torch"]
    if kind not in (torch.Tensor, torch.nn.Parameter):
        return _no_view
    # Attributes of torch are looked up here, once, and not in each call.
    strided = torch.strided
    is_functional = torch._is_functional_tensor
    bfloat16 = torch.bfloat16
    int16 = torch.int16
    dtypes = frozenset(getattr(torch, name) for name in BY_NAME)

    def view_of_torch(x: Any) -> Any | None:
        dtype = x.dtype
        if not x.is_cpu or dtype not in dtypes or x.layout is not strided or is_functional(x):
            return None
        data = x.detach() if x.requires_grad else x
        try:
            return data.view(int16).numpy().view(np.uint16) if dtype is bfloat16 else data.numpy()
        except RuntimeError:
            # A lazy or nested tensor, or one that torch.func transforms.
            return None

    _VIEWS[kind] = view_of_torch
    return view_of_torch


_NUMPY_TYPES = frozenset(format.storage for format in BY_NAME.values() if format is not BFLOAT16)

# By the type of the array; those of torch are added when one is passed.
_VIEWS: dict[type, Callable[[Any], Any | None]] = {np.ndarray: _view_of_numpy}


@ignore_float_errors
def _from_list(name: str, x: Any, dtype: Any) -> Any:
    try:
        # "same_kind" refuses text and objects.
        return np.asarray(x).astype(dtype, casting="same_kind")
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} must be an array or a flat list of numbers: {error}") from None


def _numpy_view(x: Any, format: Format) -> Any:
    """Return a NumPy view of a plain array on the host, of the format's storage type."""
    x = view_as_numpy(x) if is_torch_array(x) else np.asarray(x)
    if x.dtype in BY_STORAGE:
        return x
    return x.view(format.storage)
