"""Learning to reweight examples: the weight of a sample is its effect on the loss of clean ones."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .clean_set import BatchResult, CleanSetMethod
from .method import MakeOptimizer, MakeScheduler, update
from .training_set import TrainingSet
from .virtual_step import CleanBatch, clean_loss

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=5e-4)
"""The published optimizer of Meta-Weight-Net."""


class SampleWeights(NamedTuple):
    """The weights of a batch.

    Attributes
    ----------
    weights : Tensor, shape (batch,)
        At least 0, with sum 1; or all 0.
    clean_loss : Tensor, shape ()
        The mean loss of the clean batch.
    """

    weights: Tensor
    clean_loss: Tensor


def sample_weights(model: nn.Module, batch: CleanBatch) -> SampleWeights:
    """Return the weights of the samples of a batch.

    The gradient of the loss of the clean batch, after a virtual step, with respect to the factors of the samples'
    losses in this step is computed where all factors are 0. The weights are its negative parts, divided by their sum.
    The learning rate of the virtual step cancels out.

    Parameters
    ----------
    model : nn.Module
        In training mode. It isn't changed.
    batch : CleanBatch
    """
    dtype = next(model.parameters()).dtype
    factors = torch.zeros(len(batch.y), dtype=dtype, device=batch.y.device, requires_grad=True)
    loss = clean_loss(model, batch, lambda _: factors, virtual_rate=1.0)
    (gradient,) = torch.autograd.grad(loss, factors)
    positive = (-gradient).clamp(min=0)
    total = positive.sum()
    return SampleWeights(torch.where(total > 0, positive / total, 0), loss.detach())


class LearningToReweight(CleanSetMethod):
    """Learning to reweight examples [1]_: the weights of a batch are those that would lower the loss of clean samples.

    For each batch the weights are computed anew, see `sample_weights`; the step is then one on the weighted sum of the
    losses. If no sample of a batch lowers the clean loss, all weights are 0, and so is the gradient; momentum and
    weight decay of the optimizer go on.

    Parameters
    ----------
    model : nn.Module
        Returns logits of shape (batch, n_classes).
    data : TrainingSet
    clean, optimizer, scheduler, batch_size, clean_batch_size, autocast, seed
        See `MetaWeightNet`.

    Attributes
    ----------
    weights : Tensor of float32, shape (n,)
        The weight that each sample had in the last epoch. In each batch they have the sum 1, or 0.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    References
    ----------
    .. [1] Ren, Zeng, Yang, Urtasun, "Learning to Reweight Examples for Robust Deep Learning", ICML 2018.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch.methods.learning_to_reweight import LearningToReweight
    >>> from rrm_torch.methods.training_set import TrainingSet
    >>> noisy = TrainingSet(torch.rand(20, 4), torch.arange(20) % 2, 2)
    >>> clean = TrainingSet(torch.rand(6, 4), torch.arange(6) % 2, 2)
    >>> method = LearningToReweight(torch.nn.Linear(4, 2), noisy, clean, batch_size=10)
    >>> history = method.fit(2)
    >>> method.weights.shape
    torch.Size([20])
    """

    def __init__(
        self,
        model: nn.Module,
        data: TrainingSet,
        clean: TrainingSet,
        *,
        optimizer: MakeOptimizer = SGD,
        scheduler: MakeScheduler | None = None,
        batch_size: int = 100,
        clean_batch_size: int | None = None,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            data,
            clean,
            parts={},
            settings={},
            optimizer=optimizer,
            scheduler=scheduler,
            batch_size=batch_size,
            clean_batch_size=clean_batch_size,
            autocast=autocast,
            seed=seed,
        )

    def _train_batch(self, batch: CleanBatch) -> BatchResult:
        with self._autocast_context(self.model):
            batch_weights, loss_of_clean = sample_weights(self.model, batch)
        losses = self._sample_losses(batch)
        update(self._optimizer, (batch_weights * losses).sum())
        return BatchResult(losses.detach(), batch_weights, loss_of_clean)
