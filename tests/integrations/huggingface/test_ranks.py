"""`RRMTrainer` on two processes."""

from __future__ import annotations

import pytest
import torch

from support.trainer_runs import make_trainer, parameters
from support.two_processes import run_on_two_processes


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return what the two processes of `trainer_job` saved, those of rank 0 first."""
    return run_on_two_processes("trainer_job.py", tmp_path_factory.mktemp("ranks"))


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
