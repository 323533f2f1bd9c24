"""Script of a test: a DivideMix with RRM and checkpoints, killed within an epoch."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from rrm_torch import Checkpoint
from support.small_methods import RecordingDivideMix, digest_of, make_dividemix, rrms

EPOCHS = 4


def make(cls: type[RecordingDivideMix] = RecordingDivideMix) -> Any:
    """Return the method of the run."""
    return make_dividemix(cls=cls, rrm=rrms(mu=0.5), average_losses=2)


def run(path: Path, cls: type[RecordingDivideMix] = RecordingDivideMix) -> str:
    """Train from the checkpoint on; return a hash of the end."""
    method = make(cls)
    method.fit(EPOCHS, checkpoint=Checkpoint(path, method=method))
    return digest_of(method)


class KilledDivideMix(RecordingDivideMix):
    """DivideMix that kills its process in the middle of its third epoch."""

    def _train_batch(self, *arguments: Any) -> torch.Tensor:
        loss = super()._train_batch(*arguments)
        if self.epoch == 2 and self.steps[-1].k == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), KilledDivideMix)
