"""A net of skorch."""

from __future__ import annotations

from typing import Any

import torch
from skorch import NeuralNetClassifier
from torch import nn

from rrm_torch.integrations.skorch import RRMNet  # RRM

from .digits_run import BATCH_SIZE, EPOCHS, LEARNING_RATE, Array, Fitted, Settings
from .torch_network import make_network

NAME = "skorch"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Train with RRM, or without if there are no settings."""
    torch.manual_seed(seed)
    options: dict[str, Any] = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer": torch.optim.Adam,
        "lr": LEARNING_RATE,
        "batch_size": BATCH_SIZE,
        "max_epochs": EPOCHS,
        "iterator_train__shuffle": True,
        "train_split": None,
        "verbose": 0,
    }
    net = NeuralNetClassifier(make_network, **options)
    if settings is not None:
        net = RRMNet(make_network, **options, rrm=settings)  # RRM
    net.fit(x, y)
    return Fitted(net.predict, getattr(net, "rrm_", None))
