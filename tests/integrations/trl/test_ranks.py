"""The trainers of trl on two processes."""

from __future__ import annotations

import pytest
import torch

from rrm_torch.integrations.trl import RRMDPOTrainer, RRMRewardTrainer, RRMSFTTrainer
from support.preference_runs import make_trainer, parameters, preferences
from support.two_processes import run_on_two_processes


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return what the two processes of `preference_job` saved, those of rank 0 first."""
    return run_on_two_processes("preference_job.py", tmp_path_factory.mktemp("ranks"))


def test_two_processes_agree(results):
    for name, value in results[0].items():
        assert value.equal(results[1][name]), name


@pytest.mark.parametrize("cls", [RRMRewardTrainer, RRMDPOTrainer, RRMSFTTrainer])
def test_two_processes_train_as_one_does(results, cls, tmp_path):
    # Each process has batches of 8, which together are those of a single process.
    rrm = {"contamination": 0.3, "warmup": 1}
    trainer = make_trainer(cls, tmp_path, preferences(96).data, rrm=rrm)
    trainer.train()
    assert trainer.rrm.weights.equal(results[0][f"{cls.__name__} weights"])
    torch.testing.assert_close(parameters(trainer), results[0][f"{cls.__name__} parameters"], rtol=1e-2, atol=1e-3)
