"""The CUDA backend without a GPU."""

from __future__ import annotations

import pytest

from support.stand_in_gpu import gpu_framework


@pytest.fixture
def gpu(stand_in, monkeypatch, request):
    """Return an array framework whose arrays the cuda backend serves; `request.param` is how the stand-in works."""
    with gpu_framework(stand_in, monkeypatch, **getattr(request, "param", {})) as framework:
        yield framework
