"""Jobs on two processes of torchrun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch


def run_on_two_processes(job: str, folder: Path) -> list[dict[str, Any]]:
    """Run a program of tests/support, and return what its processes saved to ``rank0.pt`` and ``rank1.pt``."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = Path(__file__).parent / job
    run = subprocess.run([*launcher, program, folder], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
