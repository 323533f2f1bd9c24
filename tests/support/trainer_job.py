"""A run of `RRMTrainer` on the processes of torchrun, and one resumed in mid-epoch: ``trainer_job.py FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.trainer_runs import make_trainer, parameters

RUN = {"n": 160, "rrm": {"contamination": 0.3, "warmup": 2}, "per_device_train_batch_size": 16, "ddp_backend": "gloo"}


def main(folder: Path) -> None:
    """Save the results of this process to ``rank0.pt`` or ``rank1.pt``."""
    torch.set_num_threads(1)
    trainer = make_trainer(folder, save_strategy="steps", save_steps=1, **RUN)
    trainer.train()
    resumed = make_trainer(folder, **RUN)
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-12"))
    results = {
        "parameters": parameters(trainer),
        "weights": trainer.rrm.weights,
        "flagged": trainer.rrm.flagged(),
        "resumed_parameters": parameters(resumed),
        "resumed_weights": resumed.rrm.weights,
    }
    torch.save(results, folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
