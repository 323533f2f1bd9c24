"""The CUDA kernels on the execution model, from their source and from nvcc's PTX, and the machine code by nvcc.

Random cases are compared with a definition by sorting; see model/kernel_cases.cpp.
"""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from cuda_model.builds import NVCC, ROOT, harness, kernels, link, needs_nvcc, translate

CASES = {"plain": 6000, "address": 1000, "thread": 50, "PTX": 1500}
FLOOR = 16  # bytes a sample: losses read twice, weights read and written


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """Return the objects of the source build: the harness and the kernels."""
    folder = tmp_path_factory.mktemp("plain")
    return [*harness(folder, "plain"), kernels(folder, "plain")]


def run_cases(command, cases, *options):
    run = subprocess.run([*command, str(cases), "1", *options], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == f"{cases} cases\n"


def test_source_on_random_cases(plain, tmp_path):
    run_cases(link(tmp_path / "cases", "plain", *plain), CASES["plain"])


@pytest.mark.parametrize("mode", ["address", "thread"])
def test_source_on_random_cases_under_sanitizers(mode, tmp_path):
    command = link(tmp_path / "cases", mode, *harness(tmp_path, mode), kernels(tmp_path, mode))
    run_cases(command, CASES[mode])


@needs_nvcc
@pytest.mark.parametrize("architecture", [75, 90])
def test_ptx_on_random_cases(architecture, plain, tmp_path):
    command = link(tmp_path / "cases", "plain", *plain, translate(tmp_path, architecture))
    run_cases(command, CASES["PTX"], "ptx")


@pytest.fixture(scope="session")
def ptx(tmp_path_factory):
    """Return the PTX of each kernel, by its name."""
    target = tmp_path_factory.mktemp("ptx") / "reweight.ptx"
    source = ROOT / "csrc" / "cuda" / "reweight.cu"
    subprocess.run([*NVCC, "-arch=compute_90", "-ptx", str(source), "-o", str(target)], check=True)
    return dict(re.findall(r"\.entry (\w+)\(.*?\n\)(.*?)\n}", target.read_text(), re.DOTALL))


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


@needs_nvcc
def test_machine_code_has_no_spills_on_any_architecture(tmp_path):
    """No warnings, no spills, no local memory, and registers within the launch bounds."""
    flags = ["-arch=all-major", "-Werror", "all-warnings", "-Xptxas", "-v,-warn-spills"]
    source = ROOT / "csrc" / "cuda" / "reweight.cu"
    run = subprocess.run(
        [*NVCC, *flags, "-c", str(source), "-o", str(tmp_path / "reweight.o")],
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
    compiled_kernels = {kernel for kernel, *_ in reports}
    assert compiled_kernels == {
        *("sample_brackets", "scan_losses", "radix_pass", "write_weights", "apply_plan", "count_foreign_losses")
    }
    architectures = {architecture for _, architecture, *_ in reports}
    assert {"sm_75", "sm_80", "sm_90", "sm_100", "sm_120"} <= architectures
    assert len(reports) == 28 * len(architectures)  # four formats; scan_losses for one selection and for two
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
    counted = costs(link(tmp_path / "cases", "plain", *plain), dtype, n, rule)
    assert sum(kernel["launches"] for kernel in counted) == (4 if rule == "gamma" else launches)
    total = sum(kernel["read"] + kernel["written"] for kernel in counted)
    assert FLOOR / 4 * size <= total / n <= 1.35 * FLOOR / 4 * size


def test_small_call_takes_three_launches(plain, tmp_path):
    counted = costs(link(tmp_path / "cases", "plain", *plain), "float32", 4096, "fraction")
    assert sum(kernel["launches"] for kernel in counted) == 3
