"""A loop of PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import RRM, Indexed  # RRM

from .digits_run import BATCH_SIZE, EPOCHS, LEARNING_RATE, Array, Fitted, Settings
from .torch_network import make_network, predict_with

NAME = "PyTorch, a loop of one's own"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Train with RRM, or without if there are no settings."""
    torch.manual_seed(seed)
    model = make_network()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = DataLoader(Indexed(data), BATCH_SIZE, shuffle=True)  # RRM
    rrm = None if settings is None else RRM(len(data), epochs=EPOCHS, **settings)  # RRM
    for _ in range(EPOCHS):
        for index, inputs, labels in loader:
            logits = model(inputs)
            losses = F.cross_entropy(logits, labels, reduction="none")
            loss = losses.mean()
            if rrm is not None:
                loss = rrm.weighted_mean(losses, index, logits=logits, labels=labels)  # RRM
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if rrm is not None:
            rrm.step()  # RRM
    return Fitted(predict_with(model), rrm)
