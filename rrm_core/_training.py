"""The compiled loops that the trainers of this distribution share; `_cpu.pyi` has their signatures."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from .backends.extension import load_extension


@cache
def compiled_loops() -> ModuleType | None:
    """Return the compiled module; None where it was not built, and a trainer uses operations of its framework."""
    try:
        return load_extension("cpp", "rrm_core._cpu", "build it, or use another backend")
    except ImportError:
        return None
