"""The PTX translator: instructions against the PTX ISA, programs against g++, rejected PTX."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cuda_model.builds import HERE, MODEL, PTX, TESTS, skip_without_nvcc, translation
from cuda_model.ptx.isa import ANY_NAN, CASES, SOURCE, WARP_CASES, expected, rows

COMPILER = os.environ.get("CXX", "g++")
FLAGS = ["-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fno-math-errno", f"-I{HERE}"]
SEEDS = (1, 2, 3)
BLOCK, THREADS = 64, 192  # as ptx/cases_main.cpp launches them
WRONG, PROGRAMS = re.split(r"\n// ---- (?:WRONG|PROGRAMS)", SOURCE)[1:]

needs_nvcc = skip_without_nvcc("the translation of the PTX that it emits is not tested")


# ---- Building
def run(*command, **options):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=300, **options)


def run_or_fail(*command):
    done = run(*command)
    assert done.returncode == 0, done.stdout + done.stderr


def translate(ptx, cpp):
    return run(*translation(ptx, cpp), cwd=TESTS)


@dataclass
class Program:
    path: Path
    operands: Path

    def run(self, prefix, seed, *names):
        results = self.operands.with_suffix(".results")
        done = run(self.path, prefix, seed, self.operands, results, *names)
        return done, np.fromfile(results, np.uint64)

    def results(self, prefix, *names, seed=1):
        done, results = self.run(prefix, seed, *names)
        assert done.returncode == 0, done.stderr
        return dict(zip(names, results.reshape(len(names), -1), strict=True))


@pytest.fixture(scope="session")
def native(tmp_path_factory):
    """Return the objects that do not depend on the architecture: model, runner, programs by g++."""
    folder = tmp_path_factory.mktemp("native")
    sources = {"machine": [MODEL / "machine.cpp"], "main": [PTX / "cases_main.cpp"]}
    sources["native"] = ["-DRRM_GPU_MODEL", "-x", "c++", PTX / "cases.cu"]
    for name, source in sources.items():
        run_or_fail(COMPILER, *FLAGS, "-c", *source, "-o", folder / f"{name}.o")
    return [folder / f"{name}.o" for name in sources]


@pytest.fixture(scope="session", params=[75, 90])
def program(request, native, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"compute_{request.param}")
    ptx, cpp = folder / "cases.ptx", folder / "cases.cpp"
    flags = ["-std=c++20", "--expt-relaxed-constexpr", "--fmad=false", f"-arch=compute_{request.param}"]
    run_or_fail("nvcc", *flags, "-ptx", PTX / "cases.cu", "-o", ptx)
    translated = translate(ptx, cpp)
    assert translated.returncode == 0, translated.stderr
    run_or_fail(COMPILER, *FLAGS, "-c", cpp, "-o", folder / "cases.o")
    run_or_fail(COMPILER, "-rdynamic", folder / "cases.o", *native, "-o", folder / "cases", "-ldl")
    operands = folder / "operands"
    np.array(rows(), np.uint64).tofile(operands)
    return Program(folder / "cases", operands)


# ---- Results
def names_in(text):
    return re.findall(r"^KERNEL\((\w+)\)", text, re.MULTILINE)


def differences(name, found, wanted):
    bad = np.flatnonzero(found != wanted)
    shown = [f"{tuple(map(hex, rows()[i]))}: {found[i]:#x}, not {wanted[i]:#x}" for i in bad[:3].tolist()]
    return [f"{name}: {len(bad)} of {len(found)} rows; {'; '.join(shown)}"] if len(bad) else []


@needs_nvcc
def test_instructions_against_the_isa(program):
    wrong = []
    for name, found in program.results("ptx_", *CASES).items():
        if CASES[name][0].startswith("f64"):
            found = np.where(np.isnan(found.view(np.float64)), np.uint64(ANY_NAN), found)
        wrong += differences(name, found, expected(name))
    assert not wrong, "\n".join(wrong)


@needs_nvcc
def test_every_instruction_kernel_has_an_expected_result(program):
    symbols = run("nm", program.path).stdout
    kernels = set(re.findall(r" T ptx_(\w+)", symbols))
    assert kernels == {*CASES, *WARP_CASES, *names_in(WRONG), *names_in(PROGRAMS), "generic_pointers"}


@needs_nvcc
@pytest.mark.parametrize("seed", SEEDS)
def test_warp_instructions_against_the_isa(program, seed):
    a, b, _ = (list(column) for column in zip(*rows()[:THREADS], strict=True))
    wrong = []
    for name, found in program.results("ptx_", *WARP_CASES, seed=seed).items():
        wanted = []
        for start in range(0, THREADS, BLOCK):
            columns = a[start : start + BLOCK], b[start : start + BLOCK]
            wanted += [WARP_CASES[name](thread, *columns) for thread in range(BLOCK)]
        wrong += differences(name, found[:THREADS], np.array(wanted, np.uint64))
    assert not wrong, "\n".join(wrong)


@needs_nvcc
def test_generic_pointers(program):
    """Pointers alternately to shared, global and local memory."""
    found = program.results("ptx_", "generic_pointers")["generic_pointers"][:THREADS]
    for i, row in enumerate(rows()[:THREADS]):
        added = row[{0: 1, 1: 2, 2: 0}[i % BLOCK % 3]] + 5
        assert found[i] == (added ^ 1) % 2**64, i


@needs_nvcc
@pytest.mark.parametrize("seed", SEEDS)
def test_programs_agree_with_the_native_compiler(program, seed):
    names = names_in(PROGRAMS)
    assert len(names) >= 8
    translated, native = (program.results(prefix, *names, seed=seed) for prefix in ("ptx_", "native_"))
    assert not [difference for name in names for difference in differences(name, translated[name], native[name])]
    assert all(len(np.unique(results)) > 1 for results in native.values())


# ---- Runtime errors
MESSAGES = {
    "shared_out_of_bounds": r"read out of bounds in line \d+ of the PTX: 4 bytes at offset \d+ of shared memory",
    "shared_below_the_start": r"write out of bounds in line \d+ of the PTX: 4 bytes at offset -?\d+ of shared memory",
    "shared_across_the_end": r"read out of bounds in line \d+ of the PTX: 8 bytes at offset \d+ of shared memory",
    "shared_before_it_is_written": r"read of bytes that nobody has written in line \d+ of the PTX",
    "shared_atomic_before_it_is_written": r"atomic operation of bytes that nobody has written in line \d+ of the PTX",
    "global_outside": r"8 bytes at 0x\w+",
    "global_read_only": r"8 bytes at 0x\w+",
    "misaligned_vector": r"misaligned access in line \d+ of the PTX: 16 bytes at 0x\w+",
    "misaligned_shared_vector": r"read misaligned in line \d+ of the PTX: 16 bytes at offset \d+ of shared memory",
    "local_out_of_bounds": r"line \d+ of the PTX: 8 bytes at offset \d+ of local memory: out of bounds",
    "local_atomic": r"line \d+ of the PTX: an atomic operation on local memory",
    "divides_by_zero": r"division by zero in line \d+ of the PTX",
    "traps": r"trap in line \d+ of the PTX",
    "divergent_barrier": r"another __syncthreads",
    "constant_out_of_bounds": r"read out of bounds in line \d+ of the PTX: 8 bytes at offset \d+ of constant memory",
}


@needs_nvcc
@pytest.mark.parametrize("name", names_in(WRONG))
def test_wrong_kernels_fail(program, name):
    done, _ = program.run("ptx_", 1, name)
    assert done.returncode == 86, done.stderr
    assert re.search(MESSAGES[name], done.stderr)
    assert name in done.stderr


# ---- Rejected PTX
REJECTED = {
    "frobnicate.u32 %r1, %r1;": "frobnicate.u32",
    "add.f32 %f1, %f1, %f1;": "add.f32 .*--fmad=false",
    "add.rn.ftz.f32 %f1, %f1, %f1;": "add.rn.ftz.f32 .*--ftz=false",
    "add.rz.f64 %fd1, %fd1, %fd1;": "add.rz.f64 .*rounding to nearest",
    "sqrt.approx.f32 %f1, %f1;": "sqrt.approx.f32 .*approximation",
    "div.full.f32 %f1, %f1, %f1;": "div.full.f32 .*approximation",
    "ex2.approx.ftz.f32 %f1, %f1;": "ex2.approx.ftz.f32",
    "cvt.f32.f64 %f1, %fd1;": "cvt.f32.f64",
    "cvt.rn.f16.f32 %rs1, %f1;": "cvt.rn.f16.f32",
    "atom.global.add.f32 %f1, [%rd1], %f1;": "atom.global.add.f32 .*order of the threads",
    "red.global.add.u32 [%rd1], %r1, %r1;": "red.global.add.u32",
    "bar.sync 1;": "bar.sync .*only barrier 0",
    "bar.sync 0, 64;": "bar.sync",
    "bar.red.popc.u32 %r1, 0, %p1;": "bar.red.popc.u32",
    "shfl.down.b32 %r1, %r1, 1, 31;": "shfl.down.b32",
    "ld.shared::cluster.u32 %r1, [%rd1];": "ld.shared::cluster.u32",
    "ld.global.v8.u32 {%r1, %r1, %r1, %r1, %r1, %r1, %r1, %r1}, [%rd1];": "ld.global.v8.u32",
    "ld.param.u64 %rd1, [argument+4];": "beyond parameter argument",
    "mov.u64 %rd1, %clock64;": "%clock64",
    "mov.u32 %r1, nothing;": "nothing",
    "call.uni printf, ();": "printf",
    ".reg .b128 %q;": ".b128",
}
SKELETON = """.version 9.0
.target sm_75
.address_size 64
.visible .entry kernel(.param .u64 argument)
{{
    .reg .pred %p<3>; .reg .b16 %rs<3>; .reg .b32 %r<3>; .reg .b64 %rd<3>; .reg .f32 %f<3>; .reg .f64 %fd<3>;
    {}
    ret;
}}
"""


@pytest.mark.parametrize("instruction", REJECTED)
def test_rejects_unsupported_ptx(instruction, tmp_path):
    (tmp_path / "kernel.ptx").write_text(SKELETON.format(instruction))
    done = translate(tmp_path / "kernel.ptx", tmp_path / "kernel.cpp")
    assert done.returncode == 2
    assert re.search(REJECTED[instruction], done.stderr)
    assert not (tmp_path / "kernel.cpp").exists()


def test_rejection_names_the_line(tmp_path):
    (tmp_path / "kernel.ptx").write_text(SKELETON.format("bar.sync 1;"))
    assert "kernel.ptx:7: unsupported: bar.sync" in translate(tmp_path / "kernel.ptx", tmp_path / "kernel.cpp").stderr


def test_rejects_dynamic_shared_memory(tmp_path):
    (tmp_path / "kernel.ptx").write_text(".extern .shared .align 16 .b8 memory[];\n" + SKELETON.format(""))
    done = translate(tmp_path / "kernel.ptx", tmp_path / "kernel.cpp")
    assert done.returncode == 2
    assert "dynamic shared memory" in done.stderr


def test_translates_without_nvcc(tmp_path):
    """The skeleton itself is not what is rejected."""
    (tmp_path / "kernel.ptx").write_text(SKELETON.format("add.s32 %r1, %r1, 1;"))
    done = translate(tmp_path / "kernel.ptx", tmp_path / "kernel.cpp")
    assert done.returncode == 0, done.stderr
    assert 'extern "C" void ptx_kernel' in (tmp_path / "kernel.cpp").read_text()
