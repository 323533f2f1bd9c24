"""Runs of Lightning on digits, for the tests of its callback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from rrm_torch import Indexed
from rrm_torch.integrations.lightning import RRMCallback
from support.noisy_digits import make_network, noisy_digits


class Classifier(pl.LightningModule):
    """A network whose training step uses RRM; `is_weighted=False` takes the mean of the losses instead."""

    def __init__(self, *, is_weighted: bool = True) -> None:
        super().__init__()
        self.network = make_network()
        self.is_weighted = is_weighted
        self.losses: list[Tensor] = []
        self.gradients: list[Tensor] = []

    def training_step(self, batch: Any) -> Tensor:
        index, x, y = batch
        logits = self.network(x)
        losses = F.cross_entropy(logits.float(), y, reduction="none")
        loss = losses.mean()
        if self.is_weighted:
            loss = self.rrm.weighted_mean(losses, index, logits=logits, labels=y)
        self.losses.append(loss.detach().clone())
        return loss

    def validation_step(self, batch: Any) -> None:
        _, x, y = batch
        self.log("accuracy", (self.network(x).argmax(1) == y).float().mean(), sync_dist=True)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        gradients = [parameter.grad.flatten() for parameter in self.parameters()]
        self.gradients.append(torch.cat(gradients).clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=3e-3)


class StatefulLoader(DataLoader[Any]):
    """A loader that resumes in mid-epoch, as torchdata's StatefulDataLoader does; the epoch decides on the order."""

    def __init__(self, dataset: Dataset[Any], **options: Any) -> None:
        super().__init__(dataset, **options)
        self.epoch = 0
        self.n_yielded = 0
        self.n_skipped = 0

    def __iter__(self) -> Iterator[Any]:
        first = self.n_skipped
        self.n_skipped = 0
        if not first:
            self.epoch += 1
        self.n_yielded = first
        torch.manual_seed(self.epoch)
        for batch in list(super().__iter__())[first:]:
            self.n_yielded += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "n": self.n_yielded}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.epoch = state["epoch"]
        self.n_skipped = state["n"] % len(self)


def digits_loader(n: int, *, seed: int = 0, cls: type = DataLoader, **options: Any) -> Any:
    """Return a loader of n digits with their indices, in an order that depends on a seed."""
    digits = noisy_digits(n, seed=seed)
    defaults: dict[str, Any] = {"batch_size": 32, "shuffle": True}
    if cls is DataLoader:
        defaults["generator"] = torch.Generator().manual_seed(seed)
    return cls(Indexed(TensorDataset(digits.x, digits.y)), **{**defaults, **options})


def make_trainer(callback: RRMCallback | None = None, **options: Any) -> pl.Trainer:
    """Return a trainer on the CPU that logs, prints and saves nothing."""
    defaults: dict[str, Any] = {
        "max_epochs": 4,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    callbacks = [*options.pop("callbacks", []), *([] if callback is None else [callback])]
    return pl.Trainer(callbacks=callbacks, **{**defaults, **options})


def parameters(model: torch.nn.Module) -> Tensor:
    """Return all parameters of a model in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
