"""Builds of the programs that run the CUDA kernels on the execution model: sources, flags, compilers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MODEL = HERE / "model"
PTX = HERE / "ptx"
TESTS = HERE.parent
ROOT = TESTS.parent
COMPILER = os.environ.get("CXX", "g++")
NVCC = ["nvcc", "-std=c++20", "--expt-relaxed-constexpr", "--fmad=false"]  # as in CMakeLists.txt
CPP = ["-std=c++20", "-g1", "-ffp-contract=off", "-DRRM_GPU_MODEL", f"-I{HERE}"]

# Sources of kernels in csrc/cuda, and the program in model/ that runs them on random cases.
KERNELS = {"reweight": "kernel_cases", "groups": "group_cases", "training": "training_cases"}

# Flags of the kernels and their callers, and flags of the model itself. ThreadSanitizer does not instrument the model,
# which announces the synchronisation that CUDA guarantees.
MODES = {
    "plain": (["-O2"], ["-O2"]),
    "address": (["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],) * 2,
    "thread": (["-O1", "-fsanitize=thread", "-Wno-tsan"], ["-O1", "-DRRM_MODEL_TSAN"]),
}


def skip_without_nvcc(untested: str) -> pytest.MarkDecorator:
    """Return the mark of tests that need nvcc; its reason says what remains untested without it."""
    return pytest.mark.skipif(shutil.which("nvcc") is None, reason=f"nvcc is not installed: {untested}")


needs_nvcc = skip_without_nvcc("the code that it generates from the CUDA kernels is not tested")


def compile_all(*jobs: tuple[list[str], Path, Path]) -> list[Path]:
    """Compile (flags, source, object) jobs, two at a time. Return the objects."""
    waiting = list(jobs)
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < 2:
            flags, source, target = waiting.pop(0)
            language = ["-x", "c++"] if source.suffix == ".cu" else []
            running.append(subprocess.Popen([COMPILER, *flags, "-c", *language, str(source), "-o", str(target)]))
        assert running.pop(0).wait() == 0
    return [target for _, _, target in jobs]


def link(program: Path, mode: str, *objects: Path) -> list[str]:
    """Link a program. Return the command that runs it."""
    subprocess.run([COMPILER, *MODES[mode][0], "-rdynamic", *map(str, objects), "-o", str(program), "-ldl"], check=True)
    # GCC 12's ThreadSanitizer does not support the address randomisation of newer Linux kernels.
    return ["setarch", "-R", str(program)] if mode == "thread" else [str(program)]


def harness(folder: Path, mode: str, *flags: str, name: str = "reweight") -> list[Path]:
    """Compile the harness of the kernels of a source: the random cases and the execution model."""
    kernels, machine = MODES[mode]
    program = KERNELS[name]
    return compile_all(
        ([*CPP, *kernels, *flags], MODEL / f"{program}.cpp", folder / f"{program}.o"),
        ([*CPP, *machine], MODEL / "machine.cpp", folder / "machine.o"),
    )


def kernels(folder: Path, mode: str, name: str = "reweight") -> Path:
    """Compile the source of kernels for the execution model."""
    return compile_all(([*CPP, *MODES[mode][0]], ROOT / "csrc" / "cuda" / f"{name}.cu", folder / f"{name}.o"))[0]


def translation(ptx: Path, cpp: Path) -> list[str]:
    """Return the command, to be run in TESTS, that translates PTX to C++."""
    return [sys.executable, "-m", "cuda_model.ptx.translator", str(ptx), str(cpp)]


def translate(folder: Path, architecture: int) -> Path:
    """Compile the kernels to PTX with nvcc, translate it to C++ and compile that."""
    ptx, cpp = folder / "reweight.ptx", folder / "reweight_ptx.cpp"
    source = ROOT / "csrc" / "cuda" / "reweight.cu"
    subprocess.run([*NVCC, f"-arch=compute_{architecture}", "-ptx", str(source), "-o", str(ptx)], check=True)
    subprocess.run(translation(ptx, cpp), check=True, cwd=TESTS)
    return compile_all(([*CPP, "-O1"], cpp, folder / "reweight_ptx.o"))[0]
