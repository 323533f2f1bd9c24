"""The Trainer of transformers."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from rrm_torch.integrations.huggingface import RRMTrainer  # RRM

from .digits_run import BATCH_SIZE, EPOCHS, LEARNING_RATE, Array, Fitted, Settings
from .torch_network import make_network, predict_with

NAME = "transformers, Trainer"


class Classifier(nn.Module):
    """A network that returns its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_network()

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss and the logits."""
        logits = self.network(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def train(x: Array, y: Array, settings: Settings, seed: int) -> Fitted:
    """Train with RRM, or without if there are no settings."""
    torch.manual_seed(seed)
    data: Any = [{"x": image, "labels": label} for image, label in zip(torch.from_numpy(x), y.tolist(), strict=True)]
    model = Classifier()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            seed=seed,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            use_cpu=True,
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, train_dataset=data)
        if settings is not None:
            trainer = RRMTrainer(model, arguments, train_dataset=data, rrm=settings)  # RRM
        trainer.train()
    return Fitted(predict_with(model.network), getattr(trainer, "rrm", None))
