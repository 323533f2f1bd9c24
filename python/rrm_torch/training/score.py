"""Inference passes over a data set: the loss or the predicted probabilities of every sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .._models import autocast_context, device_of, evaluation_mode, no_grad_context, to_device, unwrap_ddp
from ..adversarial.attacks import Attack
from ..data.batch import split_indexed_batch
from ..data.loaders import Loader
from ..losses.per_sample import Loss, cross_entropy
from ..losses.regularized import Regularized, check_losses, label_loss
from ..losses.targets import check_logits, full_precision


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
    loader : iterable of (index, x, y) or of dict
        The training set, each sample once, in any order and with any batch size; not augmented. See `rrm_torch.fit`
        for dicts.
    loss : callable or Regularized, default cross-entropy
        ``loss(model(x), y)``, one loss per sample. Of a loss with a regularizer, only the label loss is computed.
    attack : Attack, optional
        Score ``attack(model, x, y)`` instead of x.
    autocast : torch.dtype, optional
        Mixed precision.

    Returns
    -------
    Tensor, shape (n,)
        Losses in the order of the index, on the model's device; NaN for samples without a label.

    Raises
    ------
    TypeError
        A batch, its index or its losses have the wrong type.
    ValueError
        An index is missing or repeated, the loader yields no batch, or a shape is wrong.
    """
    return _in_index_order(score_batches(model, loader, label_loss(loss), attack=attack, autocast=autocast))


def predict(model: nn.Module, loader: Loader) -> Tensor:
    """Return the predicted class probabilities of every sample.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits, shape (batch, n_classes), of at least two classes; put in evaluation mode for
        the pass.
    loader : iterable of (index, x, y) or of dict
        Each sample once, in any order. See `rrm_torch.fit` for dicts.

    Returns
    -------
    Tensor, shape (n, n_classes)
        Probabilities in the order of the index, on the model's device.

    Raises
    ------
    TypeError
        A batch, its index or the model's outputs have the wrong type.
    ValueError
        An index is missing or repeated, the loader yields no batch, or a shape is wrong.
    """
    return _in_index_order(_probability_batches(model, loader))


def score_batches(
    model: nn.Module,
    loader: Loader,
    loss: Loss,
    *,
    attack: Attack | None = None,
    autocast: torch.dtype | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each batch's index and losses, on the model's device, in inference mode.

    Parameters
    ----------
    model, loader, attack, autocast
        See `score`.
    loss : callable
        ``loss(model(x), y)``, one loss per sample; the objective of the attack.

    Yields
    ------
    index : Tensor, shape (batch,)
    losses : Tensor, shape (batch,)

    Raises
    ------
    TypeError, ValueError
        `loss` doesn't return one real number per sample, or the loader yields something else than batches.
    """
    for index, outputs, y in _output_batches(model, loader, loss, attack, autocast):
        losses = loss(outputs, y)
        check_losses(losses, index.shape)
        yield index, losses


def _probability_batches(model: nn.Module, loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each batch's index and predicted probabilities, shape (batch, n_classes)."""
    for index, outputs, _ in _output_batches(model, loader):
        probabilities = check_logits(outputs).softmax(1)
        if len(probabilities) != len(index):
            raise ValueError(
                f"model must return one row of logits per sample, for {len(index)} indices, got {len(probabilities)}"
            )
        yield index, probabilities


def _output_batches(
    model: nn.Module,
    loader: Loader,
    objective: Loss = cross_entropy,
    attack: Attack | None = None,
    autocast: torch.dtype | None = None,
) -> Iterator[tuple[Tensor, Any, Any]]:
    """Yield each batch's index, outputs in at least float32, and labels, on the model's device, in inference mode."""
    model = unwrap_ddp(model)
    device = device_of(model)
    with evaluation_mode(model), no_grad_context(model), autocast_context(device, autocast):
        for batch in loader:
            index, x, y = split_indexed_batch(batch)
            x = to_device(x, device)
            y = to_device(y, device)
            if attack is not None:
                x = attack(model, x, y, objective)
            yield to_device(index, device), full_precision(model(x)), y


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
