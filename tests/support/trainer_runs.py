"""Runs of the Trainer of transformers on digits, for its tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import TrainerCallback, TrainingArguments

from rrm_torch.integrations.huggingface import RRMTrainer
from support.noisy_digits import make_network, noisy_digits


class Digits(Dataset[Any]):
    """Digits as the dicts that a Trainer takes."""

    def __init__(self, n: int, seed: int = 0) -> None:
        self.digits = noisy_digits(n, seed=seed)

    def __len__(self) -> int:
        return len(self.digits.y)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        return {"x": self.digits.x[position], "labels": self.digits.y[position]}


class DigitModel(nn.Module):
    """A network that returns its loss, as models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.network = make_network()

    def forward(self, x: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.network(x)
        if labels is None:
            return {"logits": logits}
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Gradients(TrainerCallback):
    """Keeps the gradients of every step of the optimizer."""

    def __init__(self) -> None:
        self.steps: list[list[Tensor]] = []

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        self.steps.append([parameter.grad.clone() for parameter in model.parameters()])


def arguments(folder: Any, **options: Any) -> TrainingArguments:
    """Return arguments of a short run on the CPU that logs, reports and saves nothing."""
    defaults: dict[str, Any] = {
        "num_train_epochs": 4,
        "per_device_train_batch_size": 32,
        "learning_rate": 3e-3,
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return TrainingArguments(str(folder), **{**defaults, **options})


def make_trainer(folder: Any, *, n: int = 150, cls: type = RRMTrainer, **options: Any) -> Any:
    """Return a trainer on n digits; `options` are those of `arguments`, and of the trainer the following three."""
    trainer_options = {name: options.pop(name) for name in ("rrm", "eval_dataset", "callbacks") if name in options}
    torch.manual_seed(0)
    return cls(DigitModel(), arguments(folder, **options), train_dataset=Digits(n), **trainer_options)


def parameters(trainer: Any) -> Tensor:
    """Return all parameters of a trainer's model in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
