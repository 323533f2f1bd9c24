"""An array framework like CuPy on the simulated devices of the stand-in for the CUDA runtime.

Arrays are in memory that the stand-in reports as device memory. Allocation, copies and frees are ordered by the
framework's current stream, as in CuPy. All other operations synchronise and compute with NumPy.
"""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from cuda_model.cudart.stand_in import StandIn

LEGACY, PER_THREAD = 1, 2
DLPACK_CUDA = 2


_current_devices = [0]


class Device(NamedTuple):
    """A device; as a context manager, it is the current device."""

    index: int

    def __enter__(self) -> Device:
        _current_devices.append(self.index)
        return self

    def __exit__(self, *_: object) -> None:
        _current_devices.pop()

    def __str__(self) -> str:
        return f"cuda:{self.index}"


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_exported: dict[int, Any] = {}  # tensors kept alive by capsules
_open_capsule = ctypes.pythonapi.PyCapsule_GetPointer
_open_capsule.restype, _open_capsule.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]
_destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_make_capsule = ctypes.pythonapi.PyCapsule_New
_make_capsule.restype, _make_capsule.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, _destructor]


@_destructor
def _forget_capsule(capsule: int) -> None:
    del _exported[_open_capsule(capsule, b"dltensor")]


class Allocation:
    """Device memory, freed in stream order when it is no longer referenced."""

    def __init__(self, gpu: Gpu, size: int, device: int, managed: bool = False):
        self.gpu, self.device, self.stream = gpu, device, gpu.current[device]
        self.address = gpu.stand_in.call_allocate(device, self.stream, size, managed)

    def __del__(self) -> None:
        if self.gpu.is_open:
            self.gpu.stand_in.call_free(self.device, self.stream, self.address)


class Gpu:
    """The framework and its array API namespace. Other attributes are NumPy's."""

    __name__ = "fake_gpu"
    float16, float32, float64 = (np.dtype(name) for name in ("float16", "float32", "float64"))
    uint8, int32 = np.dtype(np.uint8), np.dtype(np.int32)
    # Like CuPy, it has no name for bfloat16, whose arrays have ml_dtypes' type.

    def __init__(self, stand_in: StandIn):
        self.stand_in = stand_in
        self.is_open = True  # False after a reset of the stand-in, which frees all memory
        self.current = {0: LEGACY, 1: LEGACY}
        self.array_type: type[PlainArray] = Array
        self.allocated: list[int] = []  # sizes in bytes
        self.n_allocations_left: int | None = None  # None: unlimited

    # ---- Streams
    def stream(self, device: int = 0, *, blocking: bool = False) -> int:
        return self.stand_in.call_create_stream(device, blocking)

    @contextmanager
    def on(self, stream: int, device: int = 0) -> Iterator[int]:
        previous = self.current[device]
        self.current[device] = stream
        yield stream
        self.current[device] = previous

    # ---- Arrays
    def allocate(self, size: int, device: int, *, managed: bool = False) -> Allocation:
        if self.n_allocations_left is not None:
            if self.n_allocations_left == 0:
                raise MemoryError(f"out of memory allocating {size} bytes")
            self.n_allocations_left -= 1
        self.allocated.append(size)
        return Allocation(self, size, device, managed)

    def empty(self, n: int, *, dtype: np.dtype, device: Device | None = None, managed: bool = False) -> PlainArray:
        where = _current_devices[-1]  # `device` is ignored, as by array-api-compat for CuPy
        memory = self.allocate(n * dtype.itemsize, where, managed=managed)
        return self.array_type(self, memory, memory.address, dtype, (n,), (dtype.itemsize,), where)

    def asarray(self, values: Any, *, dtype: Any = None, device: Any = None, offset: int = 0, step: int = 1) -> Any:
        """Return a copy on a device, `offset` bytes into an allocation, with a stride of `step` elements."""
        values = np.asarray(values, dtype)
        where = device.index if isinstance(device, Device) else device or 0
        size, n, stride = values.dtype.itemsize, values.size, step * values.dtype.itemsize
        memory = self.allocate(offset + max(n - 1, 0) * abs(stride) + size, where)
        start = memory.address + offset + (max(n - 1, 0) * -stride if step < 0 else 0)
        array = self.array_type(self, memory, start, values.dtype, values.shape, (stride,) * values.ndim, where)
        array.write(values)
        return array

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)
        return self._computing(function) if callable(function) else function

    def __array_namespace_info__(self) -> Any:
        return self

    def dtypes(self, **_: Any) -> dict[str, np.dtype]:
        return {"float32": self.float32, "float64": self.float64}

    def astype(self, x: Any, dtype: Any, *, copy: bool = True) -> Any:
        return self.asarray(x.get().astype(dtype), device=x.device)

    def isdtype(self, dtype: Any, kind: str) -> bool:
        return bool(np.isdtype(dtype, kind))

    def _computing(self, function: Any) -> Any:
        def compute(*args: Any, **kwargs: Any) -> Any:
            (where, *_) = (x.device for x in args if isinstance(x, PlainArray))
            result = function(*(x.get() if isinstance(x, PlainArray) else x for x in args), **kwargs)
            return self.asarray(result, device=where)

        return compute


class PlainArray:
    """An array that exports its memory through DLPack only."""

    def __init__(
        self, gpu: Gpu, memory: Any, address: int, dtype: np.dtype, shape: Any, strides: tuple[int, ...], index: int
    ):
        self.gpu, self.memory, self.address, self.index = gpu, memory, address, index
        self.dtype, self.shape, self.strides = dtype, tuple(shape), strides
        self.dlpack_streams: list[Any] = []  # arguments of __dlpack__

    @property
    def device(self) -> Any:
        return Device(self.index)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.shape[0] if self.shape else 1

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return self.gpu

    def __dlpack_device__(self) -> tuple[int, int]:
        return DLPACK_CUDA, self.index

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        self.dlpack_streams.append(stream)
        if stream is not None and stream != self.gpu.current[self.index]:
            self.gpu.stand_in.call_order(self.index, stream, self.gpu.current[self.index])
        shape = (ctypes.c_int64 * 1)(*self.shape)
        strides = (ctypes.c_int64 * 1)(self.strides[0] // self.dtype.itemsize)
        # A byte offset other than 0, as DLPack allows.
        tensor = _DLTensor(self.address - 64, DLPACK_CUDA, self.index, 1, 2, 8 * self.dtype.itemsize, 1)
        tensor.shape, tensor.strides, tensor.byte_offset = shape, strides, 64
        _exported[ctypes.addressof(tensor)] = tensor, shape, strides, self.memory
        return _make_capsule(ctypes.addressof(tensor), b"dltensor", _forget_capsule)

    # ---- Values
    def get(self) -> np.ndarray:
        """Return the values, after the operations on the current stream."""
        self.gpu.stand_in.call_finish(self.index, self.gpu.current[self.index])
        ends = self.address, self.address + (self.size - 1) * (self.strides or (0,))[0]
        raw = (ctypes.c_ubyte * (max(ends) + self.dtype.itemsize - min(ends))).from_address(min(ends))
        return np.ndarray(self.shape, self.dtype, raw, self.address - min(ends), self.strides).copy()

    def write(self, values: Any) -> None:
        """Copy an array of the host or the device, on the current stream."""
        on_host = not isinstance(values, PlainArray)
        if on_host:
            values = np.asarray(values, self.dtype)
        source, strides = (values.ctypes.data, values.strides) if on_host else (values.address, values.strides)
        assert values.shape == self.shape
        assert values.dtype == self.dtype
        stride = (self.strides or (0,))[0], (strides or (0,))[0]
        stream, size = self.gpu.current[self.index], self.dtype.itemsize
        copy = self.gpu.stand_in.call_copy
        copy(self.index, stream, self.address, stride[0], source, stride[1], size, self.size, on_host)

    def __setitem__(self, key: Any, values: Any) -> None:
        self[key].write(values)

    def __getitem__(self, key: Any) -> Any:
        if key is Ellipsis:
            return self
        if not isinstance(key, slice):
            return self.gpu.asarray(self.get()[key], device=self.index)
        start, stop, step = key.indices(self.shape[0])
        shape, strides = (len(range(start, stop, step)),), (step * self.strides[0],)
        at = self.address + start * self.strides[0]
        return type(self)(self.gpu, self.memory, at, self.dtype, shape, strides, self.index)

    def __float__(self) -> float:
        return float(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __bool__(self) -> bool:
        return bool(self.get())

    __hash__ = None  # type: ignore[assignment]


class Array(PlainArray):
    """An array like CuPy's.

    Attributes
    ----------
    exports : "current", None or int
        The stream in `__cuda_array_interface__`; "current" is the framework's current stream.
    read_only : bool
    """

    exports: Any = "current"
    read_only = False

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.address, self.read_only),
            "strides": None if self.strides == (self.dtype.itemsize,) else self.strides,
            "stream": self.gpu.current[self.index] if self.exports == "current" else self.exports,
            "version": 3,
        }


def _computed(name: str) -> Any:
    def compute(self: PlainArray, *others: Any) -> Any:
        values = (other.get() if isinstance(other, PlainArray) else other for other in others)
        return self.gpu.asarray(getattr(operator, name)(self.get(), *values), device=self.index)

    return compute


for _name in (
    "__eq__",
    "__ne__",
    "__lt__",
    "__le__",
    "__gt__",
    "__ge__",
    "__and__",
    "__or__",
    "__invert__",
    "__add__",
    "__sub__",
    "__mul__",
):
    setattr(PlainArray, _name, _computed(_name))
