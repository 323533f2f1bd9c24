"""A loop with Accelerate, with gradient accumulation."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from accelerate import Accelerator
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import RRM, Indexed  # RRM

from .digits_run import BATCH_SIZE, EPOCHS, LEARNING_RATE, Array, Fitted, Settings
from .torch_network import make_network, predict_with

NAME = "Accelerate"


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Train with RRM, or without if there are no settings."""
    torch.manual_seed(seed)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = make_network()
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = DataLoader(Indexed(data), BATCH_SIZE // 2, shuffle=True)  # RRM
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    rrm = None if settings is None else RRM(len(data), epochs=EPOCHS, unseen="latest", **settings)  # RRM
    for _ in range(EPOCHS):
        for index, inputs, labels in loader:
            with accelerator.accumulate(model):
                logits = model(inputs)
                losses = F.cross_entropy(logits, labels, reduction="none")
                loss = losses.mean()
                if rrm is not None:
                    loss = rrm.weighted_mean(losses, index, logits=logits, labels=labels)  # RRM
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
        if rrm is not None:
            rrm.step()  # RRM
    return Fitted(predict_with(model), rrm)
