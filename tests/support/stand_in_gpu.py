"""The cuda backend on the stand-in for the CUDA runtime, for the time of a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

import rrm_core
from cuda_model.cudart.fake_gpu import Gpu
from cuda_model.cudart.stand_in import StandIn
from rrm_core.backends import registry


@contextmanager
def gpu_framework(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[Gpu]:
    """Provide an array framework whose arrays the cuda backend serves; `settings` are how the stand-in works."""
    if stand_in.lost:
        pytest.fail(f"a test before this one has broken the device for good: {stand_in.lost}")
    backend = import_module("rrm_core.backends.cuda")
    extension = import_module("rrm_core.backends.cuda_call").extension
    monkeypatch.setitem(sys.modules, "rrm_core._cuda", stand_in.module)
    monkeypatch.setattr(rrm_core, "_cuda", stand_in.module, raising=False)
    caches = extension, backend._kernel_rule, registry.first_available, registry._why_unavailable
    stand_in.reset(**settings)
    for cache in caches:
        cache.cache_clear()
    framework = Gpu(stand_in)
    yield framework
    framework.is_open = False
    stand_in.reset()
    for cache in caches:
        cache.cache_clear()
