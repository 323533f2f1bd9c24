"""Runs that are killed by the operating system at every step of an epoch, and resumed from what they had saved."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

from support.resumable_runs import RUNS

JOB = Path(__file__).parents[1] / "support" / "killed_job.py"
STEPS_PER_EPOCH = 5
# The last step of the second epoch, whose end is the first reweight, and all of the third.
STEPS = range(10, 16)
# Where only epochs are saved.
STEPS_OF_EPOCHS = {"skorch": (10, 11, 15), "keras": (10, 11, 15)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_resumed_ends_with_the_same_bits(name, tmp_path):
    uninterrupted = tmp_path / "uninterrupted"
    uninterrupted.mkdir()
    expected = RUNS[name](uninterrupted, lambda step: None)
    assert len(expected.flagged) > 10
    steps = STEPS_OF_EPOCHS.get(name, STEPS)
    command = [sys.executable, JOB, name, tmp_path, *map(str, steps)]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert killed.returncode == 0, killed.stderr[-4000:]
    for step in steps:
        steps_again = []
        assert RUNS[name](tmp_path / str(step), steps_again.append) == expected
        first = step
        if name in STEPS_OF_EPOCHS:
            first -= (step - 1) % STEPS_PER_EPOCH
        assert steps_again == list(range(first, 4 * STEPS_PER_EPOCH + 1))
