"""The weighted mean of a batch's losses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class WeightedAverage(NamedTuple):
    """A weighted mean, and what its gradient needs.

    Attributes
    ----------
    mean : Tensor, shape ()
    has_loss : Tensor of bool, shape (batch,)
        Whether a sample counts: its loss is a number, or its weight is 0.
    divisor : Tensor, shape ()
        By which the sum was divided.
    """

    mean: Tensor
    has_loss: Tensor
    divisor: Tensor | float


def weighted_average(
    losses: Tensor, weights: Tensor, regularizer: Tensor | None, divisor: float | None
) -> WeightedAverage:
    """Return the mean of weights times losses, plus that of a regularizer, over the samples that have a loss.

    Parameters
    ----------
    losses, weights : Tensor, shape (batch,)
        A loss of weight 0 counts as 0 even if it is infinite or NaN.
    regularizer : Tensor, shape (batch,), or None
    divisor : float or None
        What to divide the sum by; None for the number of samples that have a loss, at least 1.
    """
    weighted = torch.where(weights == 0, 0, weights * losses)
    # NaN is unequal to itself. Before the regularizer, whose NaN is an error to be seen.
    has_loss = weighted == weighted
    if regularizer is not None:
        weighted = weighted + regularizer
    total = torch.where(has_loss, weighted, 0).sum()
    n_losses = has_loss.sum().clamp(min=1) if divisor is None else divisor
    return WeightedAverage(total / n_losses, has_loss, n_losses)


def average_of_finite(losses: Tensor, weights: Tensor, regularizer: Tensor | None) -> Tensor:
    """Return the mean that `weighted_average` does, to the bit, by fewer operations; all losses are finite."""
    weighted = weights * losses
    return (weighted if regularizer is None else weighted + regularizer).mean()
