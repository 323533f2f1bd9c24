"""Address, stream and memory of CUDA arrays of any framework."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from array_api_compat import array_namespace, device, is_jax_array, is_torch_array

# CUDA's handle of the legacy default stream, which is synchronised with other streams in both directions.
LEGACY_STREAM = 1


class Memory(NamedTuple):
    """A contiguous array in device memory.

    Attributes
    ----------
    address : int
    stream : int or None
        The stream with the work that must be finished before the memory is used; None if there is none.
    owner : object
        Keeps the memory alive.
    device : int or None
        Number of the device; None if the framework does not expose it.
    """

    address: int
    stream: int | None
    owner: Any
    device: int | None = None


class Stream(NamedTuple):
    """A CUDA stream: its handle, and the object that keeps it alive."""

    handle: int
    owner: Any


def device_context(array: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Return a function that makes a context in which the array's device is the framework's current one.

    CuPy works on the current device only. torch's context does not initialise a device that has not been used.
    """
    if is_torch_array(array):
        return partial(sys.modules["torch"].cuda.device, array.device)
    where: Any = getattr(array, "device", None)
    if hasattr(where, "__enter__"):
        return lambda: where
    return nullcontext


def stream_of(array: Any) -> Stream:
    """Return the current stream of the array's framework; the array's device is the current one."""
    if is_torch_array(array):
        current = sys.modules["torch"].cuda.current_stream(array.device)
        return Stream(current.cuda_stream, current)
    if is_jax_array(array):
        # JAX does not expose its stream, but orders it with the one that it is given (see `_locate`).
        return Stream(LEGACY_STREAM, None)
    owner = None
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        owner = cupy.cuda.get_current_stream()
    return Stream(getattr(array, "__cuda_array_interface__", {}).get("stream") or LEGACY_STREAM, owner)


def locate(name: str, array: Any, stream: Stream) -> Memory:
    """Return the memory of `array`, an argument called `name`; of a contiguous copy if the array is not contiguous.

    `stream` is passed to JAX, which orders its own stream with it.

    Raises
    ------
    ValueError
        The address is not a multiple of the size of an element.
    """
    memory, contiguous = _locate(array, stream)
    if not contiguous:
        copy = empty(array, array.shape[0], array.dtype)
        copy[...] = array
        memory, _ = _locate(copy, stream)
    if memory.address % array.dtype.itemsize:
        raise ValueError(f"{name} lies at address {memory.address:#x}, which no {array.dtype} can have; pass a copy")
    return memory


def is_contiguous(array: Any) -> bool:
    """Return whether the elements of a writable array are contiguous."""
    if is_torch_array(array):
        return bool(array.is_contiguous())
    return _is_dense(array, getattr(array, "__cuda_array_interface__", {}).get("strides"))


def empty(like: Any, n: int, dtype: Any) -> Any:
    """Return a new array on the device of `like`, which is the current one, from its framework's allocator.

    `dtype` is a type of the framework, or a name that its namespace has. CuPy's namespace has no bfloat16.
    """
    xp = array_namespace(like)
    if isinstance(dtype, str):
        dtype = getattr(xp, dtype)
    return xp.empty(n, dtype=dtype, device=device(like))


def _locate(array: Any, stream: Stream) -> tuple[Memory, bool]:
    """Return the memory of an array, and whether the array is contiguous."""
    if is_torch_array(array):
        return Memory(array.data_ptr(), stream.handle, array, array.device.index or 0), array.is_contiguous()
    # JAX's arrays go by DLPack: they have no CUDA array interface for bfloat16.
    interface = None
    if not is_jax_array(array):
        interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        from .. import _cuda

        capsule = array.__dlpack__(stream=stream.handle)
        address, _, stride = _cuda.read_capsule(capsule)
        return Memory(address, None, (array, capsule)), array.shape[0] == 1 or stride == 1
    memory = Memory(interface["data"][0], interface.get("stream"), array)
    return memory, _is_dense(array, interface.get("strides"))


def _is_dense(array: Any, strides: tuple[int, ...] | None) -> bool:
    return strides is None or array.shape[0] == 1 or strides == (array.dtype.itemsize,)
