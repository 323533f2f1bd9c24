"""The programs in examples/ run, where what they need is installed, and find the bits of one array."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"ray_plan": "ray", "spark_plan": "pyspark"}


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_examples_find_the_bits_of_one_array(name, tmp_path):
    if find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path), "PYSPARK_PYTHON": sys.executable}
    run = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | quiet,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    plan, compared = run.stdout.splitlines()[-2:]
    assert plan.startswith("Plan(n=200_000, ")
    assert "pruned=40_000 (20.0 %)" in plan
    assert compared == "as in one place: True True"
