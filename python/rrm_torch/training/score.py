"""Inference passes over a data set: the loss or the predicted probabilities of every sample."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .._models import autocast_context, device_of, evaluation_mode, no_grad_context, to_device, unwrap_ddp
from ..adversarial.attacks import Attack
from ..data.loaders import Loader
from ..losses.per_sample import Loss, cross_entropy, full_precision
from ..losses.regularized import Regularized, label_loss


def score(
    model: nn.Module,
    loader: Loader,
    loss: Loss | Regularized = cross_entropy,
    *,
    attack: Attack | None = None,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Return the loss of every sample, from one pass in inference mode.

    Parameters
    ----------
    model : nn.Module
        Put in evaluation mode for the pass.
    loader : iterable of (index, x, y)
        The training set, each sample once, in any order and with any batch size; not augmented.
    loss : callable or Regularized, default cross-entropy
        ``loss(model(x), y)``, one loss per sample. Of a loss with a regularizer, only the label loss is computed.
    attack : Attack, optional
        Score ``attack(model, x, y)`` instead of x.
    autocast : torch.dtype, optional
        Mixed precision.

    Returns
    -------
    Tensor, shape (n,)
        Losses in the order of the index, on the model's device.

    Raises
    ------
    ValueError
        An index is missing or repeated, or the loader yields no batch.
    """
    return _in_index_order(score_batches(model, loader, label_loss(loss), attack=attack, autocast=autocast))


def predict(model: nn.Module, loader: Loader) -> Tensor:
    """Return the predicted class probabilities of every sample.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits; put in evaluation mode for the pass.
    loader : iterable of (index, x, y)
        Each sample once, in any order.

    Returns
    -------
    Tensor, shape (n, n_classes)
        Probabilities in the order of the index, on the model's device.

    Raises
    ------
    ValueError
        An index is missing or repeated, or the loader yields no batch.
    """
    return _in_index_order(score_batches(model, loader, lambda logits, _: logits.softmax(1)))


def score_batches(
    model: nn.Module,
    loader: Loader,
    function: Loss,
    *,
    attack: Attack | None = None,
    autocast: torch.dtype | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each batch's index and ``function(model(x), y)``, on the model's device, in inference mode.

    Parameters
    ----------
    model, loader, attack, autocast
        See `score`.
    function : callable
        Maps outputs and labels to a tensor of shape (batch, ...); the objective of the attack.

    Yields
    ------
    index : Tensor, shape (batch,)
    values : Tensor, shape (batch, ...)

    Raises
    ------
    ValueError
        `function` doesn't return one row per sample.
    """
    model = unwrap_ddp(model)
    device = device_of(model)
    with evaluation_mode(model), no_grad_context(model), autocast_context(device, autocast):
        for index, x, y in loader:
            x = to_device(x, device)
            y = to_device(y, device)
            if attack is not None:
                x = attack(model, x, y, function)
            values = function(full_precision(model(x)), y)
            if values.shape[:1] != index.shape:
                raise ValueError(
                    f"loss must return one value per sample, of shape {tuple(index.shape)}, got {tuple(values.shape)}; "
                    "use reduction='none'"
                )
            yield to_device(index, device), values


def _in_index_order(batches: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
    """Concatenate the values of all batches in the order of their index, which must be 0 to n - 1."""
    pairs = list(batches)
    if not pairs:
        raise ValueError("loader yields no batch")
    index = torch.cat([batch_index for batch_index, _ in pairs])
    values = torch.cat([batch_values for _, batch_values in pairs])
    n = len(index)
    counts = torch.bincount(index[(index >= 0) & (index < n)], minlength=n)
    if not bool((counts == 1).all()):
        raise ValueError(
            f"loader must visit each of its {n} samples once, as index 0 to {n - 1}: "
            f"{int((counts == 0).sum())} are missing and {int((counts > 1).sum())} repeated; for part of a data set, "
            "use Indexed(Subset(...)) rather than a Subset of Indexed"
        )
    ordered = torch.empty_like(values)
    ordered[index] = values
    return ordered
