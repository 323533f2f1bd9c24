"""Programs that run the CUDA kernels on the model of CUDA's execution: what is compiled, and how, for which purpose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODEL = Path(__file__).parent
ROOT = MODEL.parent.parent
COMPILER = os.environ.get("CXX", "g++")
NVCC = ["nvcc", "-std=c++20", "--expt-relaxed-constexpr", "--fmad=false"]  # as in CMakeLists.txt
CPP = ["-std=c++20", "-g", "-ffp-contract=off", "-DRRM_GPU_MODEL", f"-I{MODEL}"]

# Flags for the kernels and whoever calls them, and for the model itself, which tells ThreadSanitizer what CUDA orders.
MODES = {
    "plain": (["-O2"], ["-O2"]),
    "address": (["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],) * 2,
    "thread": (["-O1", "-fsanitize=thread", "-Wno-tsan"], ["-O1", "-DRRM_MODEL_TSAN"]),
}


def skip_without_nvcc(unproven: str) -> pytest.MarkDecorator:
    """Return the mark of tests that need nvcc, which says what nothing proves without it."""
    return pytest.mark.skipif(
        shutil.which("nvcc") is None, reason=f"nvcc isn't installed: NOTHING here proves {unproven}"
    )


needs_nvcc = skip_without_nvcc("that what it makes of the CUDA kernels is right")


def compile_all(*jobs: tuple[list[str], Path, Path]) -> list[Path]:
    """Compile, two at a time, jobs of flags, source and object. Return the objects."""
    waiting, running = list(jobs), []
    while waiting or running:
        while waiting and len(running) < 2:
            flags, source, made = waiting.pop(0)
            language = ["-x", "c++"] if source.suffix == ".cu" else []
            running.append(subprocess.Popen([COMPILER, *flags, "-c", *language, str(source), "-o", str(made)]))
        assert running.pop(0).wait() == 0
    return [made for _, _, made in jobs]


def link(program: Path, mode: str, *objects: Path) -> list[str]:
    """Link a program and return how it is called."""
    subprocess.run([COMPILER, *MODES[mode][0], "-rdynamic", *map(str, objects), "-o", str(program), "-ldl"], check=True)
    # ThreadSanitizer of GCC 12 doesn't know the addresses that newer kernels hand out at random.
    return ["setarch", "-R", str(program)] if mode == "thread" else [str(program)]


def surroundings(folder: Path, mode: str, *flags: str) -> list[Path]:
    """Compile what runs the kernels: the random cases and the model."""
    kernels, machine = MODES[mode]
    return compile_all(
        ([*CPP, *kernels, *flags], MODEL / "kernel_cases.cpp", folder / "kernel_cases.o"),
        ([*CPP, *machine], MODEL / "machine.cpp", folder / "machine.o"),
    )


def kernels(folder: Path, mode: str, csrc: Path = ROOT / "csrc") -> Path:
    """Compile the kernels' source for the model."""
    return compile_all(([*CPP, *MODES[mode][0]], csrc / "cuda" / "reweight.cu", folder / "reweight.o"))[0]


def translate(folder: Path, architecture: int) -> Path:
    """Let nvcc make PTX of the kernels, translate that, and compile it."""
    ptx, cpp = folder / "reweight.ptx", folder / "reweight_ptx.cpp"
    source = ROOT / "csrc" / "cuda" / "reweight.cu"
    subprocess.run([*NVCC, f"-arch=compute_{architecture}", "-ptx", str(source), "-o", str(ptx)], check=True)
    subprocess.run([sys.executable, str(MODEL / "ptx_to_cpp.py"), str(ptx), str(cpp)], check=True)
    return compile_all(([*CPP, "-O1"], cpp, folder / "reweight_ptx.o"))[0]
