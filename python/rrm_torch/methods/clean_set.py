"""What methods with a small clean set share: one network, a batch of either set for each step, and the weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .._models import device_of
from ..losses.targets import full_precision
from ..training.stateful import Stateful
from .method import MakeOptimizer, MakeScheduler, Method, Row, make_optimizers
from .setting_checks import check_batch_size
from .soft_labels import check_logits
from .training_set import TrainingSet, check_views, endless_batches
from .virtual_step import CleanBatch

WEIGHTS = "weights"


class BatchResult(NamedTuple):
    """What a step on a batch has computed.

    Attributes
    ----------
    losses : Tensor, shape (batch,)
        Of the training batch, unweighted.
    weights : Tensor, shape (batch,)
    clean_loss : Tensor, shape ()
        The mean loss of the clean batch after the virtual step.
    """

    losses: Tensor
    weights: Tensor
    clean_loss: Tensor


class CleanSetMethod(Method):
    """A method that weights the samples of a training set by their effect on the loss of clean ones.

    Attributes
    ----------
    model : nn.Module
    clean : TrainingSet
    """

    def __init__(
        self,
        model: nn.Module,
        data: TrainingSet,
        clean: TrainingSet,
        *,
        parts: dict[str, Stateful],
        settings: dict[str, Any],
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None,
        batch_size: int,
        clean_batch_size: int | None,
        autocast: torch.dtype | None,
        seed: int,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a module that returns logits, got {type(model).__name__}")
        if clean_batch_size is None:
            clean_batch_size = batch_size
        check_batch_size(batch_size)
        check_batch_size(clean_batch_size, "clean_batch_size")
        (self._optimizer,), optimizers = make_optimizers(("optimizer",), [model.parameters()], optimizer, scheduler)
        sizes = {"batch_size": batch_size, "clean_batch_size": clean_batch_size}
        super().__init__(data, {"model": model, **optimizers, **parts}, {**settings, **sizes}, seed, autocast)
        check_clean_set(clean, data)
        self._settings["n_clean"] = len(clean)
        self.model = model
        self.clean = clean
        self._batch_size = batch_size
        self._clean_batch_size = clean_batch_size
        self._tensors[WEIGHTS] = torch.ones(len(data))

    @property
    def predictor(self) -> nn.Module:
        """The trained classifier: `model`."""
        return self.model

    @property
    def weights(self) -> Tensor:
        """The weight that each sample had in the last epoch, on the host, shape (n,); 1 before the first."""
        return self._tensors[WEIGHTS]

    @abstractmethod
    def _train_batch(self, batch: CleanBatch) -> BatchResult:
        """Train on a batch."""

    def _train_epoch(self, epoch: int) -> Row:
        model = self.model
        device = device_of(model)
        draws = self.data.draws(self.seed, epoch)
        clean_draws = self.clean.draws(self.seed, epoch, 1)
        samples = torch.arange(len(self.data), device=self.data.device)
        clean_samples = torch.arange(len(self.clean), device=self.clean.device)
        clean_batches = endless_batches(self.clean, clean_samples, self._clean_batch_size, clean_draws)
        indices = self.data.shuffled(samples, self._batch_size, draws)
        results = []
        model.train()
        for index, clean_index in zip(indices, clean_batches, strict=False):
            batch = CleanBatch(
                self.data.weak_view(self.data.inputs[index], draws).to(device),
                self.data.labels[index].to(device),
                self.clean.weak_view(self.clean.inputs[clean_index], clean_draws).to(device),
                self.clean.labels[clean_index].to(device),
            )
            results.append(self._train_batch(batch))
        losses = torch.cat([result.losses for result in results])
        weights = torch.cat([result.weights for result in results])
        self._tensors[WEIGHTS] = torch.empty(len(self.data))
        self._tensors[WEIGHTS][torch.cat(indices).cpu()] = weights.float().cpu()
        return {
            "loss": float(losses.mean()),
            "clean_loss": float(torch.stack([result.clean_loss for result in results]).mean()),
            "mean_weight": float(weights.mean()),
        }

    def _sample_losses(self, batch: CleanBatch) -> Tensor:
        """Return the losses of the training batch under the model, shape (batch,)."""
        with self._autocast_context(self.model):
            logits = self.model(batch.x)
        check_logits(logits, self.data.n_classes)
        return F.cross_entropy(full_precision(logits), batch.y, reduction="none")


def check_clean_set(clean: Any, data: TrainingSet) -> None:
    """Raise unless a method gets a clean set for its training set.

    Raises
    ------
    TypeError, ValueError
        It isn't a training set, or has another number of classes.
    """
    if not isinstance(clean, TrainingSet):
        raise TypeError(
            f"clean must be a TrainingSet of samples with correct labels, got {type(clean).__name__}; "
            "TrainingSet(inputs, labels, n_classes)"
        )
    check_views(clean)
    if clean.n_classes != data.n_classes:
        raise ValueError(f"clean must have the {data.n_classes} classes of data, got n_classes={clean.n_classes}")
