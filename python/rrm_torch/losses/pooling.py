"""Several losses of one sample into one, and the losses of a batch into their mean."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from .targets import check_real, full_precision

Pooling: TypeAlias = Literal["mean", "sum", "max"]


def pool(losses: Tensor, mask: Tensor | None = None, how: Pooling = "mean") -> Tensor:
    """Pool several losses per sample into one.

    Parameters
    ----------
    losses : Tensor, shape (batch, ...)
        Losses of each sample's tokens, labels or pixels.
    mask : Tensor of bool, same shape, optional
        Which losses to include. By default all.
    how : {"mean", "sum", "max"}, default "mean"
        The gradient of ``"max"`` is shared evenly among equal maxima.

    Returns
    -------
    Tensor, shape (batch,)
        At least float32; NaN, with gradient 0, where no loss of a sample is included: 0 would be the smallest loss of
        all, that of the most trusted sample.

    Raises
    ------
    TypeError
        `losses` or `mask` is not a tensor, or complex.
    ValueError
        `how` is something else, or a shape is wrong.
    """
    if how not in ("mean", "sum", "max"):
        raise ValueError(f"pool must be one of mean, sum, max, got {how!r}")
    check_real("losses", losses)
    if losses.ndim == 0:
        raise ValueError("losses must have shape (batch, ...), got (); compute the loss with reduction='none'")
    if mask is not None and check_real("mask", mask).shape != losses.shape:
        raise ValueError(f"mask must have the shape of losses, {tuple(losses.shape)}, got {tuple(mask.shape)}")
    losses = _as_matrix(full_precision(losses))
    if mask is None:
        included = torch.ones_like(losses, dtype=torch.bool)
    else:
        included = _as_matrix(mask.bool())
    counts = included.sum(1)
    if how == "max" and losses.shape[1]:
        pooled = losses.masked_fill(~included, -torch.inf).amax(1)
    else:
        pooled = torch.where(included, losses, 0).sum(1)  # 0 * NaN would be NaN
    if how == "mean":
        pooled = pooled / counts.clamp(min=1)
    if mask is None and losses.shape[1]:
        return pooled
    return torch.where(counts == 0, torch.nan, pooled)


def batch_mean(losses: Tensor, regularizer: Tensor | None = None) -> Tensor:
    """Return the mean of a batch's losses, leaving out samples whose loss is NaN because they have no label.

    Parameters
    ----------
    losses : Tensor, shape (batch,)
    regularizer : Tensor, shape (batch,), optional
        Added to the losses.

    Returns
    -------
    Tensor, shape ()
        0 with gradient 0 if no sample is left.
    """
    counted = ~losses.isnan()
    terms = losses if regularizer is None else losses + regularizer
    return torch.where(counted, full_precision(terms), 0).sum() / counted.sum().clamp(min=1)


def _as_matrix(values: Tensor) -> Tensor:
    """Return values of shape (batch, ...) in shape (batch, n)."""
    return values[:, None] if values.ndim == 1 else values.flatten(1)
