"""Runs of the trainers of trl on the processes of torchrun: ``preference_job.py FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from rrm_torch.integrations.trl import RRMDPOTrainer, RRMRewardTrainer, RRMSFTTrainer
from support.preference_runs import make_trainer, parameters, preferences


def main(folder: Path) -> None:
    """Save the results of this process to ``rank0.pt`` or ``rank1.pt``."""
    torch.set_num_threads(1)
    data = preferences(96).data
    results = {}
    for cls in (RRMRewardTrainer, RRMDPOTrainer, RRMSFTTrainer):
        rrm = {"contamination": 0.3, "warmup": 1}
        options = {"rrm": rrm, "per_device_train_batch_size": 8, "ddp_backend": "gloo"}
        trainer = make_trainer(cls, folder / cls.__name__, data, **options)
        trainer.train()
        results[f"{cls.__name__} parameters"] = parameters(trainer)
        results[f"{cls.__name__} weights"] = trainer.rrm.weights
        results[f"{cls.__name__} ranking"] = trainer.rrm.ranking()
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
