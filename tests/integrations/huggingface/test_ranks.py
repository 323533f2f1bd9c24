"""`RRMTrainer` on two processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from support.trainer_runs import make_trainer, parameters

JOB = Path(__file__).parents[2] / "support" / "trainer_job.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return what the two processes of `trainer_job` saved, those of rank 0 first."""
    folder = tmp_path_factory.mktemp("ranks")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run = subprocess.run([*launcher, JOB, folder], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_two_processes_agree(results):
    for name, value in results[0].items():
        assert value.equal(results[1][name]), name


def test_two_processes_have_the_weights_of_one(results, tmp_path):
    # Each process has batches of 16 samples, which together are those of a single process.
    trainer = make_trainer(tmp_path, n=160, rrm={"contamination": 0.3, "warmup": 2})
    trainer.train()
    assert trainer.rrm.weights.equal(results[0]["weights"])
    torch.testing.assert_close(parameters(trainer), results[0]["parameters"], rtol=1e-3, atol=1e-4)


def test_a_resumed_run_ends_with_the_same_bits(results):
    assert results[0]["resumed_parameters"].equal(results[0]["parameters"])
    assert results[0]["resumed_weights"].equal(results[0]["weights"])
