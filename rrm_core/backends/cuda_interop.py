"""Where CUDA arrays of any framework lie in memory, on which stream they are, and memory from their own allocator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

from array_api_compat import array_namespace, device, is_jax_array, is_torch_array

LEGACY_STREAM = 1  # CUDA's name for the stream that other streams wait for and that waits for them


class Memory(NamedTuple):
    """A contiguous array in device memory.

    Attributes
    ----------
    address : int
    stream : int or None
        What has to be done before it may be used is on this stream; None if it can be used at once.
    owner : object
        Keeps the memory.
    device : int or None
        The number of the device, where the framework tells it.
    """

    address: int
    stream: int | None
    owner: Any
    device: int | None = None


class Stream(NamedTuple):
    """A CUDA stream: its handle, and what keeps it."""

    handle: int
    owner: Any


def device_of(array: Any) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes the device of `array` the current one of its framework, as long as a context lasts.

    CuPy works on the current device only. torch knows how to leave a device alone that nobody has used.
    """
    if is_torch_array(array):
        return partial(sys.modules["torch"].cuda.device, array.device)
    where: Any = getattr(array, "device", None)
    return (lambda: where) if hasattr(where, "__enter__") else nullcontext


def stream_of(array: Any) -> Stream:
    """Return the stream on which its framework works on `array` now, its device being current."""
    if is_torch_array(array):
        current = sys.modules["torch"].cuda.current_stream(array.device)
        return Stream(current.cuda_stream, current)
    if is_jax_array(array):
        return Stream(LEGACY_STREAM, None)  # JAX tells nobody its own, but can be told to order them
    cupy = sys.modules.get("cupy")
    owner = cupy.cuda.get_current_stream() if cupy is not None and isinstance(array, cupy.ndarray) else None
    return Stream(getattr(array, "__cuda_array_interface__", {}).get("stream") or LEGACY_STREAM, owner)


def locate(name: str, array: Any, stream: Stream) -> Memory:
    """Return where `array`, called `name` in messages, lies; a contiguous copy of it if its elements don't touch.

    A framework that orders streams itself is told that `stream` will use the array.
    """
    found, contiguous = _locate(array, stream)
    if not contiguous:
        copy = empty(array, array.shape[0], str(array.dtype).rpartition(".")[2])
        copy[...] = array
        found, _ = _locate(copy, stream)
    if found.address % array.dtype.itemsize:
        raise ValueError(f"{name} lies at address {found.address:#x}, which no {array.dtype} can have; pass a copy")
    return found


def is_contiguous(array: Any) -> bool:
    """Return whether the elements of an array that can be written lie side by side."""
    if is_torch_array(array):
        return bool(array.is_contiguous())
    return _is_dense(array, getattr(array, "__cuda_array_interface__", {}).get("strides"))


def empty(like: Any, n: int, dtype: str) -> Any:
    """Return a new array on the device of `like`, the current one, from its framework's own allocator."""
    xp = array_namespace(like)
    return xp.empty(n, dtype=getattr(xp, dtype), device=device(like))


def _locate(array: Any, stream: Stream) -> tuple[Memory, bool]:
    if is_torch_array(array):
        return Memory(array.data_ptr(), stream.handle, array, array.device.index or 0), array.is_contiguous()
    interface = None if is_jax_array(array) else getattr(array, "__cuda_array_interface__", None)
    if interface is None:  # JAX has no such interface for bfloat16
        from .. import _cuda

        capsule = array.__dlpack__(stream=stream.handle)
        address, _, stride = _cuda.read_capsule(capsule)
        return Memory(address, None, (array, capsule)), array.shape[0] == 1 or stride == 1
    return Memory(interface["data"][0], interface.get("stream"), array), _is_dense(array, interface.get("strides"))


def _is_dense(array: Any, strides: tuple[int, ...] | None) -> bool:
    return strides is None or array.shape[0] == 1 or strides == (array.dtype.itemsize,)
