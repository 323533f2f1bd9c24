"""The loss of clean samples after a step of SGD that is taken on copies of a model's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.func import functional_call

from ..losses.targets import full_precision


class CleanBatch(NamedTuple):
    """A batch of the training set and one of the clean set.

    Attributes
    ----------
    x : Tensor, shape (batch, ...)
    y : Tensor of int64, shape (batch,)
        The given classes, some of them wrong.
    clean_x : Tensor, shape (clean batch, ...)
    clean_y : Tensor of int64, shape (clean batch,)
        Correct classes.
    """

    x: Tensor
    y: Tensor
    clean_x: Tensor
    clean_y: Tensor


def sample_losses(model: nn.Module, parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each sample under other values of a model's parameters, shape (batch,).

    Parameters
    ----------
    model : nn.Module
        Returns logits, shape (batch, n_classes). It isn't changed: its buffers, such as running statistics, are copied.
    parameters : dict of str to Tensor
        By name; those that are missing have the model's own values.
    x : Tensor, shape (batch, ...)
    y : Tensor of int64, shape (batch,)
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = functional_call(model, {**parameters, **buffers}, (x,))
    return F.cross_entropy(full_precision(logits), y, reduction="none")


def clean_loss(
    model: nn.Module, batch: CleanBatch, coefficients: Callable[[Tensor], Tensor], virtual_rate: float
) -> Tensor:
    """Return the mean loss of the clean batch after a virtual step, shape ().

    The step is one of SGD, without momentum and weight decay, on the sum of the training batch's losses times their
    coefficients. The model isn't changed; the result can be differentiated
    with respect to what the coefficients were computed from.

    Parameters
    ----------
    model : nn.Module
        In training mode. Parameters without a gradient take no step.
    batch : CleanBatch
    coefficients : callable
        ``coefficients(losses)`` returns a factor for each loss of the training batch, shape (batch,). The losses are
        constants, through which no gradient passes.
    virtual_rate : float
        The learning rate of the step.
    """
    parameters = {
        name: value.detach().requires_grad_() for name, value in model.named_parameters() if value.requires_grad
    }
    losses = sample_losses(model, parameters, batch.x, batch.y)
    weighted = (coefficients(losses.detach()) * losses).sum()
    gradients = torch.autograd.grad(weighted, list(parameters.values()), create_graph=True, materialize_grads=True)
    stepped = {
        name: value - virtual_rate * gradient
        for (name, value), gradient in zip(parameters.items(), gradients, strict=True)
    }
    return sample_losses(model, stepped, batch.clean_x, batch.clean_y).mean()
