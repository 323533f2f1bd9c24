"""Peak memory of a process, from /proc: of this one, or of a program in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory of a process from /proc")


def reset_peak() -> int:
    """Let the peak start anew; return the memory in use, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def peak() -> int:
    """Return the largest memory since `reset_peak`, in bytes."""
    return _status("VmHWM")


def _status(name: str) -> int:
    with Path("/proc/self/status").open(encoding="ascii") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))


def run_program(source: str, *arguments: object) -> str:
    """Run a Python program, which can import this module, with arguments; return its output."""
    command = [sys.executable, "-c", source, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
