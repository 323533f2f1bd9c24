"""Framework and device of an array; and array arguments as the backends get them.

Frameworks are recognised without importing them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from array_api_compat import device, is_jax_array, is_numpy_array, is_torch_array

from ..definition.formats import Format
from .host_kind import HostKind


@dataclass(frozen=True)
class Placement:
    """Framework and device of an array.

    Attributes
    ----------
    framework : str
        ``"numpy"``, ``"torch"``, ``"jax"``, or the package of another framework. Arrays whose values count as NumPy's,
        such as a pandas Series, have ``"numpy"``.
    device : object
        The framework's own device object; ``"cpu"`` for NumPy.
    on_host : bool
        Whether the backends get a NumPy view of the array.
    on_cuda : bool
        Whether the array is in the memory of an NVIDIA GPU.
    kind : HostKind or None
        How a result is rebuilt; None for arrays of the array API.
    like : object
        The array whose labels and device a rebuilt result has.
    """

    framework: str
    device: Any
    on_host: bool
    on_cuda: bool = False
    kind: HostKind | None = field(default=None, compare=False)
    like: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        what = f"{self.framework} array"
        if self.kind is not None:
            what = self.kind.label
            if self.framework == "numpy":
                return what
        return f"{what} on {self.device}"


class Argument(NamedTuple):
    """An array argument, checked and converted for a backend.

    Attributes
    ----------
    name : str
        The argument's name in messages.
    original : array
        The caller's array; of one outside the array API, its values in NumPy.
    array : array
        A NumPy view of it if `placement.on_host`, else an array of its framework.
    placement : Placement
    format : Format
    n : int
        Number of samples.
    """

    name: str
    original: Any
    array: Any
    placement: Placement
    format: Format
    n: int


NUMPY = Placement("numpy", "cpu", on_host=True)


@cache
def torch_on_cpu() -> Placement:
    """Return the placement of torch tensors on the CPU."""
    return Placement("torch", sys.modules["torch"].device("cpu"), on_host=True)


def placement_of(x: Any, native: bool) -> Placement:
    """Return the placement of the array `x`; if `native`, host arrays are not viewed as NumPy arrays."""
    if is_numpy_array(x):
        return Placement("numpy", "cpu", on_host=False) if native else NUMPY
    where = device(x)
    if is_torch_array(x):
        # torch on ROCm calls its devices "cuda" too.
        on_cuda = where.type == "cuda" and sys.modules["torch"].version.hip is None
        return Placement("torch", where, on_host=not native and where.type == "cpu", on_cuda=on_cuda)
    if is_jax_array(x):
        # An array that is distributed over several devices has no platform.
        platform = getattr(where, "platform", None)
        version = getattr(getattr(where, "client", None), "platform_version", "")
        on_cuda = platform in ("gpu", "cuda") and "rocm" not in version
        return Placement("jax", where, on_host=not native and platform == "cpu", on_cuda=on_cuda)
    package = type(x).__module__.partition(".")[0]
    return Placement(package, where, on_host=False, on_cuda=hasattr(x, "__cuda_array_interface__"))
