"""Script of a test: short training runs with checkpoints, killed at random calls and resumed."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch._dynamo  # The first optimizer would import it, in each child.
from torch import nn

from rrm_torch import ELR, RRM, Checkpoint, History, batches, evaluate, fit
from rrm_torch.data import noise
from rrm_torch.data.images import load_digits

EPOCHS = 12
N = 448
DIGITS = load_digits()
IMAGES = DIGITS.x_train[:N]
LABELS = torch.from_numpy(noise.symmetric(DIGITS.y_train[:N].numpy(), 0.3, 10, rng=0).labels)


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
    model = RandomModel()
    order = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    rrm = RRM(N, contamination=0.3, mu=0.7, warmup=3, ids=LABELS)
    elr = ELR(N, 10)
    history = History()
    loader = batches(IMAGES, LABELS, 64, shuffle=True, generator=order)
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
    for value in [*model.state_dict().values(), rrm.weights, rrm.trajectory.pruned(), rrm.trajectory.mean_excess]:
        digest.update(value.numpy().tobytes())
    digest.update(repr((history.epochs, rrm.trajectory.rounds, random.random(), np.random.rand())).encode())  # noqa: NPY002
    digest.update(repr(torch.rand(3).tolist()).encode())
    return digest.hexdigest()


class CallCounter:
    """Counts the calls of functions, in Python and in C, and kills the process at one of them."""

    def __init__(self, killed_at: int | None = None) -> None:
        self.killed_at = killed_at
        self.n_calls = 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        self.n_calls += event in ("call", "c_call")
        if self.n_calls == self.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)


def kill_at_random(folder: Path, kills: int) -> None:
    """Kill `kills` runs at random calls, resume each from its checkpoint, and print the hash of each finished run.

    Children are forked, so that they start without importing torch. Calls are counted instead of seconds, so that the
    moments do not depend on the load of the machine.
    """
    killed = 0
    moments = random.Random(5)
    counted = folder / "calls"
    assert finishes(folder / "whole.pt", CallCounter(), counted)
    n_calls = int(counted.read_text())
    path = folder / "killed.pt"
    while killed < kills or path.exists():
        killed_at = moments.randrange(1, n_calls) if killed < kills else None
        if finishes(path, CallCounter(killed_at), counted):
            path.unlink()
        else:
            killed += 1
    print("killed", killed)


def finishes(path: Path, counter: CallCounter, counted: Path) -> bool:
    """Run a child from a checkpoint on; return whether it finished, rather than was killed."""
    child = os.fork()
    if not child:
        try:
            sys.setprofile(counter)
            digest = run(str(path))
            sys.setprofile(None)
            counted.write_text(str(counter.n_calls))
            print(digest, flush=True)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("a run failed")
    return os.WIFEXITED(status)


if __name__ == "__main__":
    kill_at_random(Path(sys.argv[1]), int(sys.argv[2]))
