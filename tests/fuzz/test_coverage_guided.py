from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="Atheris is not installed")

TESTS = Path(__file__).parents[1]


def test_short_run_finds_no_fault(tmp_path):
    command = [sys.executable, "-m", "fuzz.coverage_guided", "any", "--seconds", "10", "--keep", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "no interesting inputs were found" not in run.stderr  # the code is instrumented
