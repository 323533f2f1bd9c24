"""An engine of ignite."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from ignite.engine import Engine, Events
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import RRM, Indexed  # RRM

from .digits_run import BATCH_SIZE, EPOCHS, LEARNING_RATE, Array, Fitted, Settings
from .torch_network import make_network, predict_with

NAME = "ignite"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Train with RRM, or without if there are no settings."""
    torch.manual_seed(seed)
    model = make_network()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = DataLoader(Indexed(data), BATCH_SIZE, shuffle=True)  # RRM
    rrm = None if settings is None else RRM(len(data), epochs=EPOCHS, **settings)  # RRM

    def update(engine: Engine, batch: Any) -> float:
        index, inputs, labels = batch
        logits = model(inputs)
        losses = F.cross_entropy(logits, labels, reduction="none")
        loss = losses.mean()
        if rrm is not None:
            loss = rrm.weighted_mean(losses, index, logits=logits, labels=labels)  # RRM
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    trainer = Engine(update)
    if rrm is not None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: rrm.step())  # RRM
    trainer.run(loader, max_epochs=EPOCHS)
    return Fitted(predict_with(model), rrm)
