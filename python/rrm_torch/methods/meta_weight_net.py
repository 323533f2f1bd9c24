"""Meta-Weight-Net: a small network maps the loss of a sample to its weight, and learns from clean samples."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._models import device_of
from .clean_set import BatchResult, CleanSetMethod
from .learning_to_reweight import SGD
from .method import MakeOptimizer, MakeScheduler, update
from .setting_checks import check_above_zero
from .training_set import TrainingSet
from .virtual_step import CleanBatch, clean_loss

Adam = partial(torch.optim.Adam, lr=1e-3, weight_decay=1e-4)
"""The published optimizer of the weight net."""


class MetaGradient(NamedTuple):
    """The gradient of a weight net.

    Attributes
    ----------
    gradients : tuple of Tensors
        In the order of its parameters.
    clean_loss : Tensor, shape ()
        The mean loss of the clean batch after the virtual step.
    """

    gradients: tuple[Tensor, ...]
    clean_loss: Tensor


def meta_gradient(model: nn.Module, weight_net: nn.Module, batch: CleanBatch, *, virtual_rate: float) -> MetaGradient:
    """Return the gradient of the loss of the clean batch, after a virtual step, with respect to the weight net.

    The virtual step is one of SGD on the mean of the training batch's losses times their weights, which are not
    normalised.

    Parameters
    ----------
    model : nn.Module
        In training mode. It isn't changed.
    weight_net : nn.Module
        Maps losses of shape (batch, 1) to weights of that shape. It isn't changed.
    batch : CleanBatch
    virtual_rate : float
        The learning rate of the virtual step.
    """

    def coefficients(losses: Tensor) -> Tensor:
        # The model may run under autocast; the weight net has full precision, as in the step of the model.
        with torch.autocast(losses.device.type, enabled=False):
            weights: Tensor = weight_net(losses[:, None])
        return weights[:, 0] / len(losses)

    loss = clean_loss(model, batch, coefficients, virtual_rate)
    return MetaGradient(torch.autograd.grad(loss, list(weight_net.parameters())), loss.detach())


def make_weight_net(hidden: int = 100, *, seed: int = 0) -> nn.Sequential:
    """Return the weight net of the paper: a hidden layer with ReLU, and a sigmoid.

    Parameters
    ----------
    hidden : int, default 100
        Units of the hidden layer.
    seed : int, default 0
        Of the initial parameters. The global generator of torch is left as it is.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid())


class MetaWeightNet(CleanSetMethod):
    """Meta-Weight-Net [1]_: the weight of a sample is a function of its loss, which is learned from clean samples.

    For each batch the weight net first takes a step that lowers the loss of a clean batch after a virtual step of the
    model, see `meta_gradient`. Then the model takes its step on the mean of the losses times the new weights.

    Parameters
    ----------
    model : nn.Module
        Returns logits of shape (batch, n_classes).
    data : TrainingSet
    clean : TrainingSet
        Samples with correct labels. The paper has 1,000, as many of each class; they aren't part of `data`.
    weight_net : nn.Module, optional
        Maps losses of shape (batch, 1) to weights of that shape. By default ``make_weight_net(seed=seed)``.
    optimizer : callable, default SGD with rate 0.1, momentum 0.9 and weight decay 5e-4
        Called with the parameters of the model.
    weight_optimizer : callable, default Adam with rate 0.001 and weight decay 1e-4
        Called with the parameters of the weight net.
    scheduler : callable, optional
        Called with the model's optimizer; its schedule is stepped after each epoch.
    virtual_rate : float, optional
        The learning rate of the virtual step. By default the current one of the first group of the model's optimizer,
        as in the paper, which is meant for SGD.
    batch_size : int, default 100
        Samples of the training set in a batch.
    clean_batch_size : int, optional
        Clean samples in a batch, by default `batch_size`.
    autocast : torch.dtype, optional
        Mixed precision: ``torch.bfloat16``.
    seed : int, default 0
        Of the order of the samples, the augmentation and the weight net. A run with the same seed has the same bits.

    Attributes
    ----------
    weights : Tensor of float32, shape (n,)
        The weight that each sample had in the last epoch.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    References
    ----------
    .. [1] Shu et al., "Meta-Weight-Net: Learning an Explicit Mapping For Sample Weighting", NeurIPS 2019.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch.methods.meta_weight_net import MetaWeightNet
    >>> from rrm_torch.methods.training_set import TrainingSet
    >>> noisy = TrainingSet(torch.rand(20, 4), torch.arange(20) % 2, 2)
    >>> clean = TrainingSet(torch.rand(6, 4), torch.arange(6) % 2, 2)
    >>> method = MetaWeightNet(torch.nn.Linear(4, 2), noisy, clean, batch_size=10)
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
        weight_net: nn.Module | None = None,
        optimizer: MakeOptimizer = SGD,
        weight_optimizer: MakeOptimizer = Adam,
        scheduler: MakeScheduler | None = None,
        virtual_rate: float | None = None,
        batch_size: int = 100,
        clean_batch_size: int | None = None,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        if virtual_rate is not None:
            check_above_zero("virtual_rate", virtual_rate)
        if weight_net is None:
            weight_net = make_weight_net(seed=seed)
            if isinstance(model, nn.Module):
                weight_net.to(device_of(model))
        elif not isinstance(weight_net, nn.Module):
            raise TypeError(f"weight_net must be a module, got {type(weight_net).__name__}; make_weight_net()")
        self.weight_net = weight_net
        self._weight_optimizer = weight_optimizer(weight_net.parameters())
        self._virtual_rate = virtual_rate
        super().__init__(
            model,
            data,
            clean,
            parts={"weight_net": weight_net, "weight_optimizer": self._weight_optimizer},
            settings={"virtual_rate": virtual_rate},
            optimizer=optimizer,
            scheduler=scheduler,
            batch_size=batch_size,
            clean_batch_size=clean_batch_size,
            autocast=autocast,
            seed=seed,
        )

    def _train_batch(self, batch: CleanBatch) -> BatchResult:
        rate = self._virtual_rate
        if rate is None:
            rate = float(self._optimizer.param_groups[0]["lr"])
        self.weight_net.train()
        with self._autocast_context(self.model):
            meta = meta_gradient(self.model, self.weight_net, batch, virtual_rate=rate)
        for parameter, gradient in zip(self.weight_net.parameters(), meta.gradients, strict=True):
            parameter.grad = gradient
        self._weight_optimizer.step()
        losses = self._sample_losses(batch)
        with torch.no_grad():
            weights = self.weight_net(losses[:, None])[:, 0]
        update(self._optimizer, (weights * losses).mean())
        return BatchResult(losses.detach(), weights, meta.clean_loss)
