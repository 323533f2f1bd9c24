"""Runs that the operating system kills: ``killed_job.py NAME FOLDER STEP ...``, one of `resumable_runs` a step.

A child of this process trains in the folder of the step, and is killed by SIGKILL in the middle of the step.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from support.resumable_runs import RUNS


def train_until_killed(name: str, folder: Path, last: int) -> None:
    """Train in a child of this process until it is killed in step `last`."""

    def interrupt(step: int) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    # Before any computation: threads are not copied to a child.
    child = os.fork()
    if not child:
        RUNS[name](folder, interrupt)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        raise SystemExit(f"the run was not killed in step {last}, it ended with status {status}")


def main(name: str, folder: Path, steps: list[int]) -> None:
    torch.set_num_threads(1)
    for step in steps:
        own = folder / str(step)
        own.mkdir()
        train_until_killed(name, own, step)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), [int(step) for step in sys.argv[3:]])
