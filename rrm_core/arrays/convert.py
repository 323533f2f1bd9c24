"""Any framework's array in, the same framework and device out.

Frameworks are recognised without importing them. NumPy arrays, and torch tensors and JAX arrays on the CPU, become
NumPy views of the same memory; every other array-API array stays what it is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import (
    array_namespace,
    device,
    is_array_api_obj,
    is_cupy_array,
    is_dask_array,
    is_jax_array,
    is_numpy_array,
    is_torch_array,
    to_device,
)

from ..definition.formats import BFLOAT16, BY_NAME, BY_STORAGE, PLAIN, Format


@dataclass(frozen=True)
class Home:
    """Where an array lives.

    Attributes
    ----------
    framework : str
        ``"numpy"``, ``"torch"``, ``"jax"``, or the package of any other array-API framework.
    device : object
        The framework's own notion; ``"cpu"`` for NumPy.
    on_host : bool
        Whether backends get a NumPy view of it.
    on_cuda : bool
        Whether it is in the memory of an NVIDIA GPU.
    """

    framework: str
    device: Any
    on_host: bool
    on_cuda: bool = False

    def __str__(self) -> str:
        return f"{self.framework} array on {self.device}"


class Operand(NamedTuple):
    """An argument, checked and ready for a backend."""

    name: str
    given: Any
    array: Any  # a NumPy view where `home.on_host`, else the array itself
    home: Home
    format: Format
    n: int  # number of samples


def read(name: str, x: Any, *, native: bool, list_type: Any = None) -> Operand:
    """Return the argument `x`, called `name` in messages, as an operand.

    Parameters
    ----------
    native : bool
        Leave host arrays in their framework, for the array-API backend.
    list_type : np.dtype, optional
        The type that a plain list becomes; without it lists are refused.
    """
    if isinstance(x, (list, tuple)) and list_type is not None:
        try:
            x = np.asarray(x).astype(list_type, casting="same_kind")  # no text, no objects
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"{name} must be an array or a flat list of numbers: {error}") from None
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be ignored; pass {name}.compressed()")
    if not is_array_api_obj(x):
        remedy = f"; pass {name}.to_numpy()" if hasattr(x, "to_numpy") else ""
        if hasattr(x, "__cuda_array_interface__"):
            remedy = f"; pass cupy.asarray({name}) or torch.as_tensor({name}, device='cuda')"
        raise TypeError(
            f"{name} must be an array (NumPy, torch, CuPy, JAX or another of the array API), "
            f"got {type(x).__name__}{remedy}"
        )
    if is_torch_array(x) and (x.layout is not sys.modules["torch"].strided or x.is_meta):
        raise TypeError(f"{name} must be a dense tensor with memory of its own, got layout {x.layout} on {x.device}")
    if type(x).__name__ == "FakeTensor":
        raise TypeError(f"{name} is a FakeTensor, which has no values; call this on real tensors, outside fake mode")
    if is_jax_array(x) and isinstance(x, sys.modules["jax"].core.Tracer):
        raise TypeError(f"{name} is being traced by JAX; call this outside jit, grad and vmap, on concrete arrays")
    if x.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {tuple(x.shape)}")
    if x.shape[0] == 0:
        raise ValueError(f"{name} is empty; at least one sample is needed")
    home = _home(x, native)
    dtype = x.dtype.newbyteorder("=") if home.framework == "numpy" else x.dtype
    format = BY_NAME.get(str(dtype).rpartition(".")[2])
    if format is None:
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {dtype}; convert them to float32")
    if home.framework == "numpy":
        array = np.asarray(x, dtype)
    else:
        array = x.detach() if home.framework == "torch" else x
    return Operand(name, x, _view(array, format) if home.on_host else array, home, format, int(x.shape[0]))


def read_on_host(name: str, x: Any) -> tuple[Any, Format]:
    """Return a NumPy view of the argument `x` and its format; of an array on a device, a copy. It may be empty."""
    if (view := _plain_view(x)) is not None:
        return view, BY_STORAGE[view.dtype]
    if isinstance(x, (list, tuple)) and not x:
        x = np.empty(0)
    if getattr(x, "shape", None) == (0,) and is_array_api_obj(x):
        xp = array_namespace(x)
        operand = read(name, xp.zeros(1, dtype=x.dtype), native=False)  # for what else may be wrong with it
        return np.empty(0, operand.format.storage), operand.format
    operand = read(name, x, native=False, list_type=np.float64)
    if operand.home.on_host:
        return operand.array, operand.format
    return _view(_on_host(operand.array), operand.format), operand.format


def ordinary(losses: Any, weights: Any | None, out: Any | None) -> tuple[Any, Any | None, Home, Format] | None:
    """Return NumPy views of `losses` and `weights`, their home and format, if these are what most callers pass.

    That is: vectors in memory of their own, NumPy's or torch's on the CPU, of types and lengths that match, and `out`
    is not given or the weights themselves. Otherwise return None: then the other functions here see what there is to
    refuse or to convert. They would return the same views, and take ten times as long, which counts for few samples.
    """
    c = _plain_view(losses)
    if c is None:
        return None
    home, format = _NUMPY if c is losses else _torch_home(), BY_STORAGE[c.dtype]
    if weights is None:
        return (c, None, home, format) if out is None else None
    w = _plain_view(weights)
    if w is None or type(weights) is not type(losses) or w.dtype != format.weights or len(w) != len(c):
        return None
    if out is not None and (
        out is not weights
        or not w.flags.writeable
        or np.may_share_memory(w, c)
        or (w is not weights and weights.requires_grad)
    ):
        return None
    return c, w, home, format


def _plain_view(x: Any) -> Any | None:
    view = (_VIEWS.get(type(x)) or _learn_view(type(x)))(x)
    return view if view is not None and view.ndim == 1 and len(view) and view.flags.num & PLAIN == PLAIN else None


def _numpy_view(x: Any) -> Any | None:
    return x if x.dtype in _BY_NUMPY_TYPE else None


def _no_view(_: Any) -> None:
    return None


def _learn_view(kind: type) -> Callable[[Any], Any | None]:
    if kind.__module__ not in ("torch", "torch.nn.parameter"):
        return _no_view
    torch = sys.modules["torch"]
    if kind not in (torch.Tensor, torch.nn.Parameter):
        return _no_view
    strided, bfloat16, int16 = torch.strided, torch.bfloat16, torch.int16
    formats = frozenset(getattr(torch, name) for name in BY_NAME)

    def view(x: Any) -> Any | None:
        dtype = x.dtype
        if not x.is_cpu or dtype not in formats or x.layout is not strided:
            return None
        data = x.detach() if x.requires_grad else x
        return data.view(int16).numpy().view(np.uint16) if dtype is bfloat16 else data.numpy()

    _VIEWS[kind] = view
    return view


def require_match(operand: Operand, losses: Operand) -> None:
    """Raise unless `operand` has the framework, device, type and length that weights of `losses` must have."""
    if operand.home != losses.home:
        raise TypeError(f"{operand.name} is a {operand.home}, but losses are a {losses.home}; use one for both")
    if operand.format.storage != losses.format.weights:
        wanted = losses.format.weights.name
        raise TypeError(
            f"{operand.name} must be {wanted} for {losses.format.name} losses, got {operand.format.name}; "
            f"convert it to {wanted}"
        )
    if operand.n != losses.n:
        raise ValueError(f"{operand.name} must have one entry per loss, got {operand.n:_} for {losses.n:_} losses")


def require_writable(out: Operand, losses: Operand, weights: Operand | None) -> None:
    """Raise unless `out` can be written, and without spoiling what has yet to be read."""
    on_host = isinstance(out.array, np.ndarray)
    if out.home.framework == "jax":
        raise ValueError("out can't be a JAX array, which is immutable; leave it out to get a new array")
    if out.home.on_cuda and out.home.framework != "torch" and out.array.__cuda_array_interface__["data"][1]:
        raise ValueError("out is read-only; leave it out to get a new array")
    if on_host and not out.array.flags.writeable:
        raise ValueError("out is read-only; leave it out to get a new array")
    if out.home.framework == "numpy" and not out.given.dtype.isnative:
        raise ValueError(f"out must be of native byte order, got {out.given.dtype}; leave it out to get a new array")
    if out.home.framework == "torch" and out.given.requires_grad:
        raise ValueError("out requires a gradient, which weights have no use for; pass out.detach()")
    stride = out.array.strides[0] if on_host else _span(out.array)[2]
    if out.n > 1 and stride is not None and abs(stride) < out.format.storage.itemsize:
        raise ValueError(f"out overlaps itself in memory: its stride is {stride} bytes")
    # Losses in foreign byte order were copied, but they are still the caller's.
    if _overlap(out.array, losses.given if isinstance(losses.given, np.ndarray) else losses.array):
        raise ValueError("out overlaps losses in memory; give it memory of its own")
    if weights is None or out.array is weights.array:
        return
    if _overlap(out.array, weights.array) and _span(out.array) != _span(weights.array):
        raise ValueError("out overlaps weights in part; pass the weights themselves or memory of its own")


def mark_written(out: Any, home: Home) -> None:
    """Tell torch that `out` was written, so that a gradient which needs the old values is refused rather than wrong."""
    if home is not _NUMPY and home.framework == "torch" and not out.is_inference():
        sys.modules["torch"].autograd.graph.increment_version(out)


def hand_back(array: Any, home: Home) -> Any:
    """Return what a backend computed as an array of the framework at `home`."""
    if home is _NUMPY:
        return array
    if home.on_host and home.framework == "torch":
        return sys.modules["torch"].from_numpy(array)
    if home.on_host and home.framework == "jax":
        return sys.modules["jax"].device_put(array, home.device)
    return array


_NUMPY = Home("numpy", "cpu", on_host=True)
_BY_NUMPY_TYPE = {format.storage: format for format in BY_NAME.values() if format is not BFLOAT16}


# How to see what most callers pass; those of torch are learnt when one comes.
_VIEWS: dict[type, Callable[[Any], Any | None]] = {np.ndarray: _numpy_view}


@cache
def _torch_home() -> Home:
    return Home("torch", sys.modules["torch"].device("cpu"), on_host=True)


def _home(x: Any, native: bool) -> Home:
    if is_numpy_array(x):
        return _NUMPY if not native else Home("numpy", "cpu", on_host=False)
    where = device(x)
    if is_torch_array(x):
        on_cuda = where.type == "cuda" and sys.modules["torch"].version.hip is None  # torch on ROCm says "cuda" too
        return Home("torch", where, on_host=not native and where.type == "cpu", on_cuda=on_cuda)
    if is_jax_array(x):
        platform = getattr(where, "platform", None)  # an array over several devices has none
        version = getattr(getattr(where, "client", None), "platform_version", "")
        on_cuda = platform in ("gpu", "cuda") and "rocm" not in version
        return Home("jax", where, on_host=not native and platform == "cpu", on_cuda=on_cuda)
    name = type(x).__module__.partition(".")[0]
    return Home(name, where, on_host=False, on_cuda=hasattr(x, "__cuda_array_interface__"))


def _view(x: Any, format: Format) -> Any:
    if is_torch_array(x):
        x = (x.view(sys.modules["torch"].int16) if format.name == "bfloat16" else x).numpy()
    x = np.asarray(x)
    return x if x.dtype in BY_STORAGE else x.view(format.storage)  # bfloat16 becomes its bits


def _on_host(x: Any) -> Any:
    """Return an array on a device as one that NumPy may see."""
    if is_torch_array(x) or is_cupy_array(x):
        return to_device(x, "cpu")
    # JAX and Dask have their own ways, also for one in several places.
    return np.asarray(x) if is_jax_array(x) or is_dask_array(x) else np.from_dlpack(x)


def _overlap(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return np.may_share_memory(a, b) and np.shares_memory(a, b)  # the second is exact, and slow
    (start, stop, _), (other_start, other_stop, _) = _span(a), _span(b)
    return start < other_stop and other_start < stop


def _span(x: Any) -> tuple[int, int, int | None]:
    """Return first and last address and the stride in bytes; of an array that doesn't tell them, its identity."""
    if is_torch_array(x):
        pointer, stride, size = x.data_ptr(), x.stride(0) * x.element_size(), x.element_size()
    else:
        interface = getattr(x, "__cuda_array_interface__", None) or getattr(x, "__array_interface__", None)
        if interface is None:
            return id(x), id(x) + 1, None
        size = x.dtype.itemsize
        pointer, stride = interface["data"][0], (interface.get("strides") or (size,))[0]
    ends = pointer, pointer + (x.shape[0] - 1) * stride
    return min(ends), max(ends) + size, stride
