"""A module of Lightning."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import Indexed  # RRM
from rrm_torch.integrations.lightning import RRMCallback  # RRM

from .digits_run import BATCH_SIZE, EPOCHS, LEARNING_RATE, Array, Fitted, Settings
from .torch_network import make_network, predict_with

NAME = "Lightning"


class Classifier(pl.LightningModule):
    """A network, with RRM if the callback has made one."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_network()

    def training_step(self, batch: Any) -> Tensor:
        """Return the loss of a batch."""
        index, x, y = batch
        logits = self.network(x)
        losses = F.cross_entropy(logits, y, reduction="none")
        if hasattr(self, "rrm"):
            return self.rrm.weighted_mean(losses, index, logits=logits, labels=y)  # RRM
        return losses.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), LEARNING_RATE)


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Train with RRM, or without if there are no settings."""
    torch.manual_seed(seed)
    model = Classifier()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = DataLoader(Indexed(data), BATCH_SIZE, shuffle=True)  # RRM
    callbacks = [] if settings is None else [RRMCallback(settings)]  # RRM
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        callbacks=callbacks,  # RRM
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    return Fitted(predict_with(model.network), callbacks[0].rrm if callbacks else None)
