"""Script of a test: short training runs with checkpoints, killed at random moments and resumed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rrm_torch import ELR, RRM, Checkpoint, History, batches, evaluate, fit
from rrm_torch.data import noise
from rrm_torch.data.images import load_digits

EPOCHS = 12


class RandomModel(nn.Module):
    """A model that draws from the global generators of torch, NumPy and Python."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.Linear(32, 10)
        )

    def forward(self, x):
        if self.training:
            x = x + 0.01 * random.random() + 0.01 * np.random.rand()  # noqa: NPY002
        return self.layers(x)


def run(path: str) -> str:
    """Train from the checkpoint on; return a hash of the final state."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    data = load_digits()
    labels = torch.from_numpy(noise.symmetric(data.y_train.numpy(), 0.3, 10, rng=0).labels)
    model = RandomModel()
    order = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    rrm = RRM(len(labels), contamination=0.3, mu=0.7, warmup=3, ids=labels)
    elr = ELR(len(labels), 10)
    history = History()
    loader = batches(data.x_train, labels, 64, shuffle=True, generator=order)
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "rrm": rrm}
    fit(
        model,
        loader,
        optimizer,
        EPOCHS,
        rrm=rrm,
        loss=elr,
        scheduler=scheduler,
        checkpoint=Checkpoint(path, **parts, elr=elr, history=history, order=order),
        on_epoch=lambda epoch, loss: history.record(epoch, loss, evaluate(model, loader), rrm),
    )
    digest = hashlib.blake2b(digest_size=16)
    for value in [*model.state_dict().values(), rrm.weights, rrm.trajectory.pruned(), rrm.trajectory.mean_rank]:
        digest.update(value.numpy().tobytes())
    digest.update(repr((history.epochs, rrm.trajectory.rounds, random.random(), np.random.rand())).encode())  # noqa: NPY002
    digest.update(repr(torch.rand(3).tolist()).encode())
    return digest.hexdigest()


def kill_at_random(folder: Path, kills: int) -> None:
    """Kill `kills` runs at random moments, resume each from its checkpoint, and print the hash of each finished run.

    Children are forked, so that they start without importing torch.
    """
    killed = 0
    moments = random.Random(5)
    start = time.monotonic()
    finish(fork(folder / "whole.pt"))
    duration = time.monotonic() - start
    path = folder / "killed.pt"
    while killed < kills or path.exists():
        child = fork(path)
        if killed < kills:
            time.sleep(moments.random() * duration)
            os.kill(child, signal.SIGKILL)
        if finish(child):
            path.unlink()
        else:
            killed += 1
    print("killed", killed)


def fork(path: Path) -> int:
    child = os.fork()
    if not child:
        try:
            print(run(str(path)), flush=True)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def finish(child: int) -> bool:
    """Wait for a child; return whether it finished, rather than was killed."""
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a run failed")
    return os.WIFEXITED(status)


if __name__ == "__main__":
    kill_at_random(Path(sys.argv[1]), int(sys.argv[2]))
