"""One training run of a classifier, from a seed to a trained model; `compare` and the experiments use it.

It consists of the `Task` (data and model), the `Recipe` (optimization settings) and the `TrainingRun`, which makes
everything with a state from them and a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .._models import autocast_context, device_of
from ..adversarial.attacks import Attack
from ..data.loaders import batches
from ..losses.per_sample import Loss
from ..losses.regularized import Regularized
from ..weighting.base import BaseRRM
from .checkpoint import Checkpoint
from .evaluate import evaluate
from .fit import Seconds, fit
from .history import History

Transform: TypeAlias = Callable[[Tensor], Tensor]
Batches: TypeAlias = "torch.utils.data.DataLoader[tuple[Tensor, Tensor, Tensor]]"


@dataclass(frozen=True, eq=False)
class Task:
    """Data, labels and model of a training run.

    Attributes
    ----------
    x_train, x_test : Tensor, shape (n, ...)
        Inputs.
    labels : Tensor of int64, shape (n,)
        Training labels, possibly noisy.
    y_test : Tensor of int64
        Test labels.
    model : callable
        Returns a new model, initialised from torch's global generator.
    wrong : bool array, shape (n,), optional
        Which training labels are wrong, if known.
    augment : callable, optional
        Transform of training batches. By default `prepare`.
    prepare : callable, optional
        Transform of the batches of scoring and test passes.
    eval_batch_size : int, default 1000
        Batch size of scoring and test passes.
    """

    x_train: Tensor
    labels: Tensor
    x_test: Tensor
    y_test: Tensor
    model: Callable[[], nn.Module]
    wrong: npt.NDArray[np.bool_] | None = None
    augment: Transform | None = None
    prepare: Transform | None = None
    eval_batch_size: int = 1000

    def train_loader(self, batch_size: int, generator: torch.Generator) -> Batches:
        """Return a loader of the training set, shuffled by `generator` and augmented."""
        transform = self.augment or self.prepare
        return batches(self.x_train, self.labels, batch_size, shuffle=True, generator=generator, transform=transform)

    def score_loader(self) -> Batches:
        """Return a loader of the training set, neither shuffled nor augmented."""
        return batches(self.x_train, self.labels, self.eval_batch_size, shuffle=False, transform=self.prepare)

    def test_loader(self) -> Batches:
        """Return a loader of the test set."""
        return batches(self.x_test, self.y_test, self.eval_batch_size, shuffle=False, transform=self.prepare)


@dataclass(frozen=True)
class Recipe:
    """Optimization settings.

    Attributes
    ----------
    epochs, batch_size : int
        Passes over the training set, and samples per step.
    optimizer : {"adam", "sgd"}
        Another value raises a ValueError.
    lr, momentum, weight_decay : float
        SGD uses Nesterov momentum; Adam ignores `momentum`.
    cosine : bool
        Anneal the learning rate to 0 along half a cosine, stepped after each epoch. By default it is constant.
    autocast : bool
        Run the model in bfloat16.
    """

    epochs: int
    batch_size: int
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    cosine: bool = False
    autocast: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in ("adam", "sgd"):
            raise ValueError(f"optimizer must be 'adam' or 'sgd', got {self.optimizer!r}")

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """The type for mixed precision: bfloat16, or None."""
        if self.autocast:
            return torch.bfloat16
        return None

    def autocast_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which a model runs in the recipe's precision."""
        return autocast_context(device_of(model), self.autocast_dtype)

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer of the model's parameters."""
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), self.lr, weight_decay=self.weight_decay)
        return torch.optim.SGD(
            model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay, nesterov=self.momentum > 0
        )

    def make_scheduler(self, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        """Return the learning-rate schedule."""
        if self.cosine:
            return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        return torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)


class TrainingRun:
    """A model and everything else that changes while it is trained, made from one seed.

    Parameters
    ----------
    task : Task
    recipe : Recipe
    seed : int
        Seeds torch's global generator, from which the model is initialised, and the generator of the sample order.
    rrm : RRM, optional
        None is ordinary training.

    Attributes
    ----------
    task, recipe, rrm
        As passed.
    model : nn.Module
    optimizer : torch.optim.Optimizer
    scheduler : LRScheduler
    order : torch.Generator
        Shuffles the training set.
    history : History
        One entry per epoch.
    """

    def __init__(self, task: Task, recipe: Recipe, seed: int, rrm: BaseRRM | None = None) -> None:
        torch.manual_seed(seed)
        self.task = task
        self.recipe = recipe
        self.rrm = rrm
        self.model = task.model()
        self.optimizer = recipe.make_optimizer(self.model)
        self.scheduler = recipe.make_scheduler(self.optimizer)
        self.order = torch.Generator().manual_seed(seed)
        self.history = History(task.wrong)

    def stateful(self) -> dict[str, Any]:
        """Return everything that a `Checkpoint` of this run must hold, by name."""
        objects: dict[str, Any] = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "history": self.history,
            "order": self.order,
        }
        if self.rrm is not None:
            objects["rrm"] = self.rrm
        return objects

    def fit(
        self,
        *,
        loss: Loss | Regularized,
        attack: Attack | None = None,
        scoring: str = "recorded",
        score_inputs: Literal["perturbed", "clean"] = "perturbed",
        checkpoint: Checkpoint | None = None,
        on_epoch: Callable[[int], None] | None = None,
    ) -> Seconds:
        """Train, evaluating and recording each epoch.

        Parameters
        ----------
        loss, attack, score_inputs, checkpoint
            See `rrm_torch.fit`.
        scoring : {"recorded", "pass"}, default "recorded"
            Reweight by the losses recorded during training, or by those of a scoring pass.
        on_epoch : callable, optional
            Called with the epoch after it is recorded, and before it is saved.

        Returns
        -------
        Seconds

        Raises
        ------
        TypeError, ValueError
            `scoring` has another value; or see `rrm_torch.fit`.
        """
        if scoring not in ("recorded", "pass"):
            raise ValueError(f"scoring must be 'recorded' or 'pass', got {scoring!r}")

        def end_epoch(epoch: int, mean_loss: float) -> None:
            self.record_epoch(epoch, mean_loss)
            if on_epoch is not None:
                on_epoch(epoch)

        return fit(
            self.model,
            self.task.train_loader(self.recipe.batch_size, self.order),
            self.optimizer,
            self.recipe.epochs,
            rrm=self.rrm,
            loss=loss,
            attack=attack,
            score_loader=self.task.score_loader() if scoring == "pass" else None,
            score_inputs=score_inputs,
            autocast=self.recipe.autocast_dtype,
            scheduler=self.scheduler,
            checkpoint=checkpoint,
            on_epoch=end_epoch,
        )

    def record_epoch(self, epoch: int, mean_loss: float) -> None:
        """Evaluate the model on the test set, and add the epoch to the history."""
        self.history.record(epoch, mean_loss, self.test_accuracy(), self.rrm)

    def test_accuracy(self) -> float:
        """Return the accuracy on the test set, in [0, 1]."""
        with self.recipe.autocast_context(self.model):
            return evaluate(self.model, self.task.test_loader())
