"""The CUDA backend without a GPU."""

from __future__ import annotations

import fcntl
import os
import sys
from importlib import import_module

import pytest

import rrm_core
from cuda_model.cudart.fake_gpu import Gpu
from cuda_model.cudart.stand_in import StandIn, build
from rrm_core.backends import registry


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """Return the module as nvcc makes it, on a stand-in for CUDA's runtime library; built once for all workers."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "stand_in"
    complete = folder / "complete"
    with (shared / "stand_in.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            folder.mkdir(exist_ok=True)
            build(folder)
            complete.touch()
    return StandIn(folder)


@pytest.fixture
def gpu(stand_in, monkeypatch, request):
    """Return an array framework whose arrays the cuda backend serves; `request.param` is how the stand-in works."""
    if stand_in.lost:
        pytest.fail(f"a test before this one has broken the device for good: {stand_in.lost}")
    backend = import_module("rrm_core.backends.cuda")
    monkeypatch.setitem(sys.modules, "rrm_core._cuda", stand_in.module)
    monkeypatch.setattr(rrm_core, "_cuda", stand_in.module, raising=False)
    caches = backend._devices, backend._extension, backend._kernel_rule, registry.first_available
    stand_in.reset(**getattr(request, "param", {}))
    for cache in caches:
        cache.cache_clear()
    framework = Gpu(stand_in)
    yield framework
    framework.is_open = False
    stand_in.reset()
    for cache in caches:
        cache.cache_clear()
