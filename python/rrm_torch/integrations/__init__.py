"""Adapters to other trainers, one module each: `huggingface`, `trl`, `lightning`, `skorch`.

A module is imported when it is first used, and with it the trainer's package, which an extra of the same name
installs. Every adapter takes the arguments of `rrm_torch.RRM` in epochs, makes an RRM of its own for each run, and
saves its state with the trainer's checkpoints.
"""

from __future__ import annotations

import importlib
from types import ModuleType

_MODULES = ("huggingface", "lightning", "skorch", "trl")


def __getattr__(name: str) -> ModuleType:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_MODULES)}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
