"""Losses with a regularizer: a term that doesn't depend on the label."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from .per_sample import Loss
from .targets import full_precision


class LossParts(NamedTuple):
    """The two parts of a batch's losses, both of shape (batch,), and the outputs that they were computed from."""

    losses: Tensor
    """The label loss of each sample, which depends on its label: `RRM` weights and records it."""
    regularizer: Tensor | None = None
    """The regularizer of each sample, which doesn't depend on its label: neither weighted nor recorded. None for 0."""
    outputs: Any = None
    """The model's outputs, from which `RRM` estimates the contamination; None where that isn't needed."""


@runtime_checkable
class Regularized(Protocol):
    """A loss with a regularizer, or one that needs the model or the samples' indices."""

    def label_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the label loss of each sample, shape (batch,), without changing any state; scoring passes use it."""
        ...

    def parts(self, model: nn.Module, x: Any, y: Any, index: Tensor) -> LossParts:
        """Return both parts for a training batch; `index`, shape (batch,), holds the samples' indices."""
        ...


def split_loss(loss: Loss | Regularized, model: nn.Module, x: Any, y: Any, index: Tensor) -> LossParts:
    """Compute the parts of a loss, with or without a regularizer, for a training batch.

    Parameters
    ----------
    loss : callable or Regularized
        ``loss(model(x), y)``, one loss per sample, or a loss with a regularizer.
    model : nn.Module
        Used in its current mode.
    x, y : Tensor, shapes (batch, ...)
        Inputs and labels, on the model's device.
    index : Tensor of int64, shape (batch,)
        The samples' indices in the training set.

    Returns
    -------
    LossParts
        Of shape (batch,); the regularizer is None if the loss has none. The outputs are those of the model, or what a
        loss with a regularizer returns.

    Raises
    ------
    TypeError
        `loss` is neither callable nor Regularized, or a part isn't a tensor of real numbers.
    ValueError
        A part isn't one value per sample.
    """
    if isinstance(loss, Regularized):
        parts = loss.parts(model, x, y, index)
    else:
        function = label_loss(loss)  # before the model runs
        outputs = model(x)
        parts = LossParts(function(full_precision(outputs), y), outputs=outputs)
    for part in (parts.losses, parts.regularizer):
        if part is not None:
            check_losses(part, index.shape)
    return parts


def check_losses(losses: object, shape: torch.Size) -> None:
    """Raise unless a loss has returned one real number per sample.

    Parameters
    ----------
    losses : Tensor
        What the loss has returned.
    shape : torch.Size
        ``(batch,)``.

    Raises
    ------
    TypeError
        `losses` isn't a tensor, or is complex.
    ValueError
        It has another shape.
    """
    if not isinstance(losses, Tensor):
        raise TypeError(f"loss must return a tensor, got {type(losses).__name__}")
    if losses.is_complex():
        raise TypeError(f"loss must return real numbers, got {losses.dtype}; take its .abs() or .real")
    if losses.shape != shape:
        raise ValueError(
            f"loss must return one value per sample, of shape {tuple(shape)}, got {tuple(losses.shape)}; "
            "use reduction='none', and rrm_torch.losses.pool for several losses of a sample"
        )


def label_loss(loss: Loss | Regularized) -> Loss:
    """Return the part of a loss that depends on the label, as a function of outputs and labels.

    Parameters
    ----------
    loss : callable or Regularized
        See `split_loss`.

    Returns
    -------
    callable
        ``f(outputs, y)``, one loss per sample: `loss` itself unless it has a regularizer.

    Raises
    ------
    TypeError
        `loss` is neither callable nor Regularized.
    """
    if isinstance(loss, Regularized):
        return loss.label_loss
    if not callable(loss):
        raise TypeError(f"loss must be callable, got {loss!r}; rrm_torch.losses.by_name returns a loss by its name")
    return loss
