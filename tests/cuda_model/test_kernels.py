"""The CUDA kernels on the execution model, from their source and from nvcc's PTX, and the machine code by nvcc.

Random cases are compared with a definition by sorting; see model/kernel_cases.cpp, model/group_cases.cpp and
model/training_cases.cpp.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from functools import cache

import pytest

from cuda_model.builds import KERNELS, NVCC, ROOT, harness, kernels, link, needs_nvcc, translate

# Random cases of each program by build. A case with groups sorts losses, and takes longer.
CASES = {
    "reweight": {"plain": 4000, "address": 700, "thread": 36, "PTX": 1000},
    "groups": {"plain": 400, "address": 80, "thread": 4},
    "training": {"plain": 1000, "address": 300, "thread": 20},
}
FLOOR = 16  # bytes a sample: losses read twice, weights read and written


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Return a function that returns the objects of the source build of kernels: the harness and the kernels."""

    @cache
    def objects(name):
        folder = tmp_path_factory.mktemp("plain")
        return [*harness(folder, "plain", name=name), kernels(folder, "plain", name)]

    return objects


def run_cases(command, cases, *options):
    run = subprocess.run([*command, str(cases), "1", *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == f"{cases} cases\n"


@pytest.mark.parametrize("name", KERNELS)
def test_source_on_random_cases(name, plain, tmp_path):
    run_cases(link(tmp_path / "cases", "plain", *plain(name)), CASES[name]["plain"])


@pytest.mark.parametrize("mode", ["address", "thread"])
@pytest.mark.parametrize("name", KERNELS)
def test_source_on_random_cases_under_sanitizers(name, mode, tmp_path):
    command = link(tmp_path / "cases", mode, *harness(tmp_path, mode, name=name), kernels(tmp_path, mode, name))
    run_cases(command, CASES[name][mode])


@pytest.fixture(params=[75, 90])
def translated_ptx(request, tmp_path):
    """Return the object of the PTX for an architecture; the stand-in has one for the lowest."""
    if request.param == 75:
        return request.getfixturevalue("stand_in_folder") / "reweight_ptx.o"
    return translate(tmp_path, request.param)


# The PTX of the kernels for groups is run by tests/rrm_core/groups/test_cuda.py.
@needs_nvcc
def test_ptx_on_random_cases(translated_ptx, plain, tmp_path):
    command = link(tmp_path / "cases", "plain", *plain("reweight"), translated_ptx)
    run_cases(command, CASES["reweight"]["PTX"], "ptx")


@pytest.fixture(scope="session")
def ptx(tmp_path_factory):
    """Return the PTX of each kernel, by its name."""
    entries = {}
    for name in KERNELS:
        target = tmp_path_factory.mktemp("ptx") / f"{name}.ptx"
        source = ROOT / "csrc" / "cuda" / f"{name}.cu"
        subprocess.run([*NVCC, "-arch=compute_90", "-ptx", str(source), "-o", str(target)], check=True)
        entries |= dict(re.findall(r"\.entry (\w+)\(.*?\n\)(.*?)\n}", target.read_text(), re.DOTALL))
    return entries


@needs_nvcc
def test_ptx_has_no_fma_and_no_flushed_subnormals(ptx):
    text = "".join(ptx.values())
    assert "mul.rn.f32" in text
    assert not re.search(r"\bfma\.|\.ftz|\.approx", text)


@needs_nvcc
def test_weights_are_stored_in_16_byte_vectors(ptx):
    writers = [name for name in ptx if "write_weights" in name or "apply_plan" in name]
    assert len(writers) == 8 < len(ptx)
    for name in writers:
        # one per vector of the tile: loads_in_flight
        assert len(re.findall(r"st\.global\S*\.v4\.[bu]32", ptx[name])) >= 4, name


# Number of instances of each kernel: one for a format, for a word in which keys are sorted, or for 1 and 2 selections.
MACHINE_CODE = {
    "reweight": {
        "sample_brackets": 4,
        "scan_losses": 8,
        "radix_pass": 4,
        "write_weights": 4,
        "apply_plan": 4,
        "count_foreign_losses": 4,
    },
    "groups": {
        "load_keys": 4,
        "count_digits": 2,
        "find_positions": 2,
        "move_pairs": 2,
        "summarize_groups": 4,
        "find_statistics": 4,
        "make_targets": 4,
        "write_group_weights": 4,
        "count_foreign_by_group": 4,
    },
    "training": {"record_losses": 4},
}


# The oldest and the newest. With RRM_WERROR, the build fails if registers are spilled on any architecture.
ARCHITECTURES = (75, 120)


@needs_nvcc
@pytest.mark.parametrize("name", KERNELS)
def test_machine_code_has_no_spills(name, tmp_path):
    """No warnings, no spills, no local memory, and registers within the launch bounds."""
    architectures = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES]
    flags = [*architectures, "-Werror", "all-warnings", "-Xptxas", "-v,-warn-spills"]
    source = ROOT / "csrc" / "cuda" / f"{name}.cu"
    run = subprocess.run(
        [*NVCC, *flags, "-c", str(source), "-o", str(tmp_path / f"{name}.o")],
        capture_output=True,
        text=True,
        check=False,
    )
    output = run.stdout + run.stderr
    assert run.returncode == 0, output
    reports = re.findall(
        r"entry function '_ZN3rrm4cuda\d+(\w+?)I\w*' for '(sm_\d+)'.*?"
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers",
        output,
        re.DOTALL,
    )
    assert {architecture for _, architecture, *_ in reports} == {f"sm_{number}" for number in ARCHITECTURES}
    compiled = Counter(kernel for kernel, *_ in reports)
    assert compiled == {kernel: n * len(ARCHITECTURES) for kernel, n in MACHINE_CODE[name].items()}
    for kernel, architecture, *memory, registers in reports:
        assert memory == ["0", "0", "0"], (kernel, architecture)
        # 65,536 registers: 1024 threads of sample_brackets(), or three blocks of 256, in steps of eight registers
        assert int(registers) <= (64 if kernel == "sample_brackets" else 80), (kernel, architecture, registers)


def costs(command, dtype, n, rule):
    run = subprocess.run([*command, "costs", dtype, str(n), rule], capture_output=True, text=True, check=True)
    return json.loads(run.stdout)["kernels"]


@pytest.mark.parametrize(("dtype", "launches", "size"), [("float32", 6, 4), ("float64", 8, 8)])
@pytest.mark.parametrize("rule", ["rank", "gamma", "fraction"])
def test_launches_and_bytes(dtype, launches, size, rule, plain, tmp_path):
    n = 3_000_000
    counted = costs(link(tmp_path / "cases", "plain", *plain("reweight")), dtype, n, rule)
    assert sum(kernel["launches"] for kernel in counted) == (4 if rule == "gamma" else launches)
    total = sum(kernel["read"] + kernel["written"] for kernel in counted)
    assert FLOOR / 4 * size <= total / n <= 1.35 * FLOOR / 4 * size


def test_small_call_takes_three_launches(plain, tmp_path):
    counted = costs(link(tmp_path / "cases", "plain", *plain("reweight")), "float32", 4096, "fraction")
    assert sum(kernel["launches"] for kernel in counted) == 3
