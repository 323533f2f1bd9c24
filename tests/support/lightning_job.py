"""A run of Lightning on two processes: ``lightning_job.py FOLDER``; Lightning starts the second process itself."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from rrm_torch.integrations.lightning import RRMCallback
from support.lightning_runs import Classifier, digits_loader, make_trainer, parameters


def main(folder: Path) -> None:
    """Save the results of this process to ``rank0.pt`` or ``rank1.pt``."""
    torch.set_num_threads(1)
    callback = RRMCallback({"contamination": 0.3, "warmup": 2})
    model = Classifier()
    trainer = make_trainer(callback, strategy="ddp", devices=2)
    trainer.fit(model, digits_loader(160, batch_size=16))
    # Of all processes together, with the state of RRM.
    trainer.save_checkpoint(folder / "run.ckpt")
    results = {"parameters": parameters(model), "weights": callback.rrm.weights, "flagged": callback.rrm.flagged()}
    torch.save(results, folder / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
