"""Arrays that are recognised by a protocol: the buffer protocol, `__array_interface__`, `__dlpack__` or `__array__`."""

from __future__ import annotations

import sys
from array import array as plain_array
from typing import Any

import numpy as np

from .host_kind import HostKind, HostValues

# DLPack's number of the CPU.
_DLPACK_CPU = 1


def read_view(name: str, x: Any) -> HostValues:  # noqa: ARG001
    """Return a view of an object with the buffer protocol or `__array_interface__`."""
    values = np.asarray(x)
    return HostValues(values, values.dtype)


def rebuild_plain_array(weights: Any, like: Any) -> Any:  # noqa: ARG001
    """Return a copy of the weights as an array of Python's module array."""
    result = plain_array("d" if weights.dtype == np.float64 else "f")
    result.frombytes(memoryview(weights).cast("B"))
    return result


def rebuild_memoryview(weights: Any, like: Any) -> Any:  # noqa: ARG001
    """Return a memoryview of the weights."""
    return memoryview(weights)


def _rebuild_numpy(weights: Any, like: Any) -> Any:  # noqa: ARG001
    return weights


def _read_dlpack(name: str, x: Any) -> HostValues:
    device = x.__dlpack_device__()
    if int(device[0]) != _DLPACK_CPU:
        raise TypeError(
            f"{name} is a {type(x).__name__} on DLPack's device {tuple(map(int, device))}, not in host memory; pass "
            f"torch.from_dlpack({name}) or cupy.from_dlpack({name})"
        )
    try:
        values = np.from_dlpack(x)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        # A type that NumPy does not have, such as bfloat16.
        if not hasattr(x, "__array__"):
            raise TypeError(f"{name} is a {type(x).__name__} that NumPy can't read by DLPack: {error}") from error
        return _read_array_method(name, x)
    return HostValues(values, values.dtype)


def _rebuild_dlpack(weights: Any, like: Any) -> Any:
    """Return the weights as the package of `like` imports them by DLPack; if it has no such function, as they are."""
    package = sys.modules.get(type(like).__module__.partition(".")[0])
    from_dlpack = getattr(package, "from_dlpack", None)
    return weights if from_dlpack is None else from_dlpack(weights)


def _read_array_method(name: str, x: Any) -> HostValues:
    try:
        # A masked array stays one, and is refused.
        values = np.asanyarray(x)
    except Exception as error:
        raise TypeError(f"{name} is a {type(x).__name__} that NumPy can't read: {error}") from error
    return HostValues(values, values.dtype)


_PROTOCOLS = {
    "__array_interface__": HostKind("array with __array_interface__", read_view, _rebuild_numpy, is_writable=True),
    # Both methods are part of DLPack.
    "__dlpack_device__": HostKind("array with __dlpack__", _read_dlpack, _rebuild_dlpack),
    "__array__": HostKind("array with __array__", _read_array_method, _rebuild_numpy),
}


def protocol_of(x: Any) -> HostKind | None:
    """Return the kind of an object with one of the protocols; None for others, and for memory of a CUDA device."""
    if isinstance(x, type) or hasattr(x, "__cuda_array_interface__"):
        return None
    return next((kind for attribute, kind in _PROTOCOLS.items() if hasattr(x, attribute)), None)
