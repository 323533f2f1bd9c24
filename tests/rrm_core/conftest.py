"""The CUDA backend without a GPU."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

import rrm_core
from cuda_model.cudart.fake_gpu import Gpu
from rrm_core.backends import registry


@pytest.fixture
def gpu(stand_in, monkeypatch, request):
    """Return an array framework whose arrays the cuda backend serves; `request.param` is how the stand-in works."""
    if stand_in.lost:
        pytest.fail(f"a test before this one has broken the device for good: {stand_in.lost}")
    backend = import_module("rrm_core.backends.cuda")
    extension = import_module("rrm_core.backends.cuda_call").extension
    monkeypatch.setitem(sys.modules, "rrm_core._cuda", stand_in.module)
    monkeypatch.setattr(rrm_core, "_cuda", stand_in.module, raising=False)
    caches = extension, backend._kernel_rule, registry.first_available, registry._why_unavailable
    stand_in.reset(**getattr(request, "param", {}))
    for cache in caches:
        cache.cache_clear()
    framework = Gpu(stand_in)
    yield framework
    framework.is_open = False
    stand_in.reset()
    for cache in caches:
        cache.cache_clear()
