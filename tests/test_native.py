"""The CPU kernels in a C++ program: random cases under sanitizers, and the number of instructions per sample.

Both tests compile csrc/cpu with tests/native/kernel_cases.cpp.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import product

import pytest

from benchmarks.cpu.instruction_counts import RECORD, build, instructions_per_sample


@pytest.mark.parametrize(("sanitizers", "cases"), [("address,undefined", 2000), ("thread", 1000)])
def test_random_cases_under_sanitizers(sanitizers, cases, tmp_path):
    program = build(tmp_path / "kernel_cases", "-O1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all")
    run = subprocess.run([program, str(cases), "1"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == f"{cases} cases\n"


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed: the speed is not tested here")
def test_instructions_per_sample(tmp_path):
    program = build(tmp_path / "kernel_cases", "-O3")
    record = json.loads(RECORD.read_text())
    counts = {"reweight": record["instructions per sample"], **record["passes of a selection"]}
    assert set(counts) == {"reweight", "count_first_pass", "count_pass"}
    for function, instruction_set in product(counts, counts["reweight"]):
        expected = counts[function][instruction_set]
        actual = instructions_per_sample(program, instruction_set, record["n"], tmp_path, function)
        # Another compiler may need a few more instructions. Another pass, or a scalar loop, costs 20 % or more.
        message = f"{function} {instruction_set}: {actual:.2f} instructions per sample, recorded are {expected:.2f}"
        assert actual < 1.1 * expected, message
