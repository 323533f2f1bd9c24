"""Fixtures of the benchmarks that pytest-benchmark runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.cpu.native import Native
from benchmarks.cpu.rivals import one_thread


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    one_thread()


@pytest.fixture(scope="session")
def native(tmp_path_factory: pytest.TempPathFactory) -> Native:
    """Return the compiled rivals."""
    headers = os.environ.get("RRM_BENCH_HEADERS")
    return Native(tmp_path_factory.mktemp("native"), Path(headers) if headers else None)
