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
from ..weighting.population import check_among, check_distinct


def score(
    model: nn.Module,
    loader: Loader,
    loss: Loss | Regularized = cross_entropy,
    *,
    attack: Attack | None = None,
    autocast: torch.dtype | None = None,
    among: Tensor | None = None,
) -> Tensor:
    """Return the loss of every sample, or of some, from one pass in inference mode.

    Parameters
    ----------
    model : nn.Module
        Put in evaluation mode for the pass.
    loader : iterable of (index, x, y) or of dict
        The training set, each sample once, in any order and with any batch size; not augmented. See `rrm_torch.fit`
        for dicts. With `among` it visits those samples only, with their indices in the training set, as a DataLoader
        over ``Subset(Indexed(data), among)`` does.
    loss : callable or Regularized, default cross-entropy
        ``loss(model(x), y)``, one loss per sample. Of a loss with a regularizer, only the label loss is computed.
    attack : Attack, optional
        Score ``attack(model, x, y)`` instead of x.
    autocast : torch.dtype, optional
        Mixed precision.
    among : Tensor of int64 or int32, shape (m,), or of bool, shape (n,), optional
        The samples to score, as indices in the training set or as a mask; by default all.

    Returns
    -------
    Tensor, shape (n,) or (m,)
        Losses in the order of the index, on the model's device; NaN for samples without a label. With `among` in the
        order of its indices, ascending for a mask: ``rrm.step(score(model, loader, among=some), among=some)``.

    Raises
    ------
    TypeError
        A batch, its index, its losses or `among` have the wrong type.
    ValueError
        An index is missing, repeated or not in `among`; `among` names a sample twice; the loader yields no batch; or a
        shape is wrong.
    """
    if among is not None:
        check_among(among)
        if among.dtype != torch.bool:
            check_distinct(among)
    pairs = score_batches(model, loader, label_loss(loss), attack=attack, autocast=autocast)
    if among is None:
        return _in_index_order(*_concatenated(pairs))
    return _in_order_of(among, *_concatenated(pairs))


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
    return _in_index_order(*_concatenated(_probability_batches(model, loader)))


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


def _concatenated(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the indices and the values of all batches."""
    pairs = list(batches)
    if not pairs:
        raise ValueError("loader yields no batch")
    return torch.cat([index for index, _ in pairs]), torch.cat([values for _, values in pairs])


def _in_order_of(among: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Return values in the order of a population, the indices of which must be these, each once."""
    among = to_device(among, index.device)
    members = among.nonzero()[:, 0] if among.dtype == torch.bool else among.long()
    ordered, order = members.sort()
    positions = torch.searchsorted(ordered, index.long())
    # An index above all members is compared with -1.
    is_member = torch.cat([ordered, ordered.new_tensor([-1])])[positions] == index
    counts = torch.bincount(positions[is_member], minlength=len(members))
    if not bool(is_member.all() and (counts == 1).all()):
        raise ValueError(
            f"loader must visit each of the {len(members)} samples in among once, and no others: "
            f"{int((counts == 0).sum())} are missing, {int((counts > 1).sum())} repeated and "
            f"{int((~is_member).sum())} not in among"
        )
    result = torch.empty_like(values)
    result[order[positions]] = values
    return result


def _in_index_order(index: Tensor, values: Tensor) -> Tensor:
    """Return values in the order of their index, which must be 0 to n - 1."""
    n = len(index)
    counts = torch.bincount(index[(index >= 0) & (index < n)], minlength=n)
    if not bool((counts == 1).all()):
        raise ValueError(
            f"loader must visit each of its {n} samples once, as index 0 to {n - 1}: "
            f"{int((counts == 0).sum())} are missing and {int((counts > 1).sum())} repeated; for part of a data set, "
            "use Indexed(Subset(...)) rather than a Subset of Indexed, or name the samples with among"
        )
    ordered = torch.empty_like(values)
    ordered[index] = values
    return ordered
