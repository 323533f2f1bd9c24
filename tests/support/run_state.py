"""A small training run for tests of checkpoints: objects of every kind, and a digest of all their states."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rrm_torch import ELR, RRM, Checkpoint, History

N, CLASSES = 16, 3


class Counter:
    """A Stateful object of another library, which changes in place while it loads."""

    def __init__(self) -> None:
        self.counts = {"seen": 0, "kept": 0}

    def state_dict(self) -> dict[str, int]:
        return self.counts

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.counts["seen"] = int(state["seen"])
        self.counts["kept"] = int(state["kept"])


def make_objects(seed: int, steps: int) -> dict[str, Any]:
    """Return objects that were trained for some steps, from a seed, which also sets the global generators."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    objects = {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "rrm": RRM(N, contamination=0.25, warmup=1),
        "elr": ELR(N, CLASSES),
        "history": History(),
        "order": torch.Generator().manual_seed(seed),
        "counter": Counter(),
    }
    for epoch in range(1, steps + 1):
        train_step(objects, epoch)
    return objects


def train_step(objects: dict[str, Any], epoch: int) -> None:
    """Train on one batch of all samples, and end the epoch."""
    index = torch.arange(N)
    x = torch.randn(N, 4, generator=objects["order"])
    losses, regularizer, _ = objects["elr"].parts(objects["model"], x, index % CLASSES, index)
    objects["optimizer"].zero_grad()
    objects["rrm"].weighted_mean(losses, index, regularizer=regularizer).backward()
    objects["optimizer"].step()
    objects["rrm"].step()
    objects["scheduler"].step()
    objects["history"].record(epoch, float(losses.detach().mean()), 0.5, objects["rrm"])
    objects["counter"].counts["seen"] += N
    objects["counter"].counts["kept"] += 1


def make_checkpoint(path: Any, seed: int = 0, steps: int = 2) -> Checkpoint:
    """Return a checkpoint of new objects."""
    return Checkpoint(path, **make_objects(seed, steps))


def digest(objects: dict[str, Any]) -> str:
    """Return a hash of the states of the objects and of the global generators, none of which it changes."""
    states = {
        name: value.get_state() if isinstance(value, torch.Generator) else value.state_dict()
        for name, value in objects.items()
    }
    world = [torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)]  # noqa: NPY002
    return hashlib.sha256(repr(_plain([states, world])).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return [str(value.dtype), value.tolist()]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value
