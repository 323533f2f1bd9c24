"""Instructions per sample of the CPU kernels, counted by callgrind, which is free of noise."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from benchmarks.common.record import ROOT

RECORD = ROOT / "benchmarks" / "results" / "instructions.json"
COMPILER = os.environ.get("CXX", "g++")
SOURCES = [ROOT / "tests" / "native" / "kernel_cases.cpp", *sorted((ROOT / "csrc" / "cpu").glob("*.cpp"))]
FLAGS = ["-std=c++20", "-ffp-contract=off", "-fno-trapping-math", "-fno-math-errno", "-pthread", "-g1"]


def build(path: Path, *flags: str) -> Path:
    """Compile the kernels and the program that calls them, and return its path."""
    subprocess.run([COMPILER, *FLAGS, *flags, *map(str, SOURCES), "-o", str(path)], check=True)
    return path


def instructions_per_sample(
    program: Path, instruction_set: str, n: int, folder: Path, function: str = "reweight"
) -> float:
    """Return the number of instructions of one call of a function, divided by the number of samples.

    Parameters
    ----------
    program : Path
        From `build`.
    instruction_set : {"baseline", "v3"}
    n : int
        Number of samples.
    folder : Path
        For the output of callgrind.
    function : {"reweight", "count_first_pass", "count_pass"}
        In the namespace rrm::cpu.
    """
    out = folder / f"{function} {instruction_set}.out"
    callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    command = [f"--toggle-collect=*rrm::cpu::{function}<*", str(program), "count", str(n), instruction_set]
    subprocess.run([*callgrind, *command], check=True, capture_output=True)
    summary = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
    if summary is None:
        raise RuntimeError(f"callgrind's output {out} has no total")
    return int(summary[1]) / n
