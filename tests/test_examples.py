"""The programs in examples/ run, where what they need is installed, and find the bits of one array."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {"ray_plan": "ray", "spark_plan": "pyspark"}
RANKS = ("ddp", "fsdp")


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*NEEDS, *RANKS}


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


@pytest.mark.parametrize("name", RANKS)
def test_examples_for_torchrun_train_and_go_on_with_fewer_ranks(name, tmp_path):
    said = []
    for size in (2, 1):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
        run = subprocess.run(
            [*command, EXAMPLES / f"{name}.py", tmp_path],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=300,
        )
        assert run.returncode == 0, run.stderr
        accuracy, found = run.stdout.splitlines()[-2:]
        assert accuracy.startswith(f"{size} ranks")
        said.append((re.search(r"test accuracy ([\d.]+)%", accuracy)[1], found))
    assert said[0] == said[1]  # the second run finds all epochs done
    assert float(said[0][0]) > 90
    assert float(re.search(r"([\d.]+)% are wrong", said[0][1])[1]) > 90
