"""Every program in examples/ runs, and the figures it prints are checked; those for Ray and Spark where installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PACKAGES = {"distributed/ray_plan": "ray", "distributed/spark_plan": "pyspark"}
TORCHRUN = ("distributed/ddp", "distributed/fsdp")
SINGLE_PROCESS = ("adversarial", "own_loss", "quickstart", "resume", "sources")
FASHION_MNIST = Path(__file__).parents[2] / "shared" / "data" / "fashion_mnist.npz"


def run_example(name, *arguments, launcher=(), environment=None, folder=None):
    """Return the lines that an example prints."""
    run = subprocess.run(
        [sys.executable, *launcher, EXAMPLES / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}),
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def percentages(line):
    """Return the numbers before each % sign of a line, and those before ± as well."""
    return [float(number) for number in re.findall(r"([\d.]+)(?= ?%| ±)", line)]


def test_every_example_is_tested():
    names = {path.relative_to(EXAMPLES).with_suffix("").as_posix() for path in EXAMPLES.rglob("*.py")}
    assert names == {*PACKAGES, *TORCHRUN, *SINGLE_PROCESS}


def test_quickstart_finds_wrong_labels_and_beats_plain_training():
    suspicious, estimate, plain, rrm, found = run_example("quickstart")
    numbers = re.fullmatch(r"most suspicious samples of seed 0: \[([\d, ]+)\]", suspicious)[1].split(", ")
    assert len(set(numbers)) == 10
    assert all(0 <= int(number) < 1347 for number in numbers)
    assert re.fullmatch(r"estimated share of wrong labels: [\d.]+ ± [\d.]+ % \(true: 30 %\)", estimate)
    assert abs(percentages(estimate)[0] - 30) < 8
    assert re.fullmatch(r"test accuracy, plain: [\d.]+ ± [\d.]+ %", plain)
    assert re.fullmatch(r"test accuracy, RRM:   [\d.]+ ± [\d.]+ %", rrm)
    assert re.fullmatch(r"wrong labels found:   [\d.]+ ± [\d.]+ %", found)
    assert percentages(rrm)[0] > percentages(plain)[0] + 5
    assert percentages(rrm)[0] > 90
    assert percentages(found)[0] > 90


def test_own_loss_flags_a_fifth_of_the_labels():
    (line,) = run_example("own_loss")
    flagged, precision = re.fullmatch(r"(\d+) labels flagged, ([\d.]+)% of them wrong", line).groups()
    assert 200 < int(flagged) < 300
    assert float(precision) > 90


def test_adversarial_training_gains_from_rrm():
    plain, rrm = run_example("adversarial")
    assert re.fullmatch(r"adversarial training: test accuracy [\d.]+%, under PGD [\d.]+%", plain)
    assert re.fullmatch(r"A-RRM: test accuracy [\d.]+%, under PGD [\d.]+%", rrm)
    for clean, attacked in (percentages(plain), percentages(rrm)):
        assert attacked < clean
    assert percentages(rrm)[0] > percentages(plain)[0]
    assert percentages(rrm)[1] > percentages(plain)[1]


def test_quotas_by_source_help_where_one_contamination_does_not():
    rules, *methods = run_example("sources", FASHION_MNIST if FASHION_MNIST.is_file() else "digits")
    assert 20 < percentages(rules)[0] < 30
    names = ("plain", "one contamination", "a quota for each rule")
    for line, name in zip(methods, names, strict=True):
        assert re.fullmatch(name + r": test accuracy [\d.]+ %, best epoch [\d.]+ %", line)
    plain, one, quotas = map(percentages, methods)
    for last_or_best in range(2):
        assert quotas[last_or_best] > max(plain[last_or_best], one[last_or_best]) + 8


def test_resumed_run_equals_the_uninterrupted_one():
    expected = "resumed after 7 of 12 epochs: same sample weights True, same model True"
    assert run_example("resume") == [expected]


@pytest.mark.parametrize("name", PACKAGES)
def test_plan_in_parts_equals_the_plan_of_one_array(name, tmp_path):
    if find_spec(PACKAGES[name]) is None:
        pytest.skip(f"needs {PACKAGES[name]}")
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "HOME": str(tmp_path), "PYSPARK_PYTHON": sys.executable}
    plan, comparison = run_example(name, environment=environment, folder=tmp_path)[-2:]
    assert plan.startswith("Plan(n=200_000, ")
    assert "pruned=40_000 (20.0 %)" in plan
    assert comparison == "as in one place: True True"


@pytest.mark.parametrize("name", TORCHRUN)
def test_torchrun_examples_resume_with_fewer_ranks(name, tmp_path):
    results = []
    for size in (2, 1):
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"]
        accuracy, precision = run_example(name, tmp_path, launcher=launcher)[-2:]
        assert accuracy.startswith(f"{size} ranks")
        results.append((re.search(r"test accuracy ([\d.]+)%", accuracy)[1], precision))
    assert results[0] == results[1]  # the second run finds all epochs done
    assert float(results[0][0]) > 90
    assert float(re.search(r"([\d.]+)% are wrong", results[0][1])[1]) > 90
