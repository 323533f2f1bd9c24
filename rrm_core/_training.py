"""The compiled loops and kernels that the trainers of this distribution share; `_cpu.pyi` and `_cuda.pyi` have them."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from .backends.cuda_call import extension
from .backends.errors import NoDeviceError
from .backends.extension import load_extension


@cache
def compiled_loops() -> ModuleType | None:
    """Return the compiled module; None where it was not built, and a trainer uses operations of its framework."""
    try:
        return load_extension("cpp", "rrm_core._cpu", "build it, or use another backend")
    except ImportError:
        return None


@cache
def cuda_kernels() -> ModuleType | None:
    """Return the compiled module for CUDA devices; None where it was not built, or finds no device."""
    try:
        return extension()
    except (ImportError, NoDeviceError):
        return None
