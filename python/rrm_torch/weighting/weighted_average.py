"""The weighted mean of a batch's losses."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function


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


class WeightedTerms(NamedTuple):
    """The terms of a weighted mean, and their derivatives by the losses.

    Attributes
    ----------
    terms : Tensor, shape (batch,)
        Weight times loss; 0 if the weight is 0, or if the sample has no loss.
    factors : Tensor, shape (batch,)
        The derivatives: the weight, or 0.
    has_loss : Tensor of bool, shape (batch,)
        Whether a sample counts, see `WeightedAverage`.
    """

    terms: Tensor
    factors: Tensor
    has_loss: Tensor


def average_of_terms(losses: Tensor, terms: WeightedTerms, regularizer: Tensor | None, divisor: float | None) -> Tensor:
    """Return the mean that `weighted_average` does, to the bit, from terms that were computed before.

    The gradient differs where that of the mean is infinite or NaN: here the gradient of a loss of weight 0 is NaN then.
    """
    mean: Tensor = _AverageOfTerms.apply(losses, regularizer, *terms, divisor)[0]  # type: ignore[no-untyped-call]
    return mean


class _AverageOfTerms(Function):
    """The mean of `average_of_terms`, and the number by which its sum was divided."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        losses: Tensor,  # noqa: ARG004
        regularizer: Tensor | None,
        terms: Tensor,
        factors: Tensor,  # noqa: ARG004
        has_loss: Tensor,
        divisor: float | None,
    ) -> tuple[Tensor, Tensor | float]:
        if regularizer is not None:
            terms = torch.where(has_loss, terms + regularizer, 0)
        n_losses = has_loss.sum().clamp(min=1) if divisor is None else divisor
        return terms.sum() / n_losses, n_losses

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor | float]) -> None:
        losses, regularizer, _, factors, has_loss, divisor = inputs
        ctx.divisor = divisor
        n_losses = output[1] if divisor is None else None
        if n_losses is not None:
            ctx.mark_non_differentiable(n_losses)
        ctx.set_materialize_grads(False)  # none are needed for the number
        ctx.save_for_backward(factors, has_loss, n_losses)
        ctx.save_for_forward(factors, has_loss, n_losses)
        ctx.dtypes = (losses.dtype, None if regularizer is None else regularizer.dtype)

    @staticmethod
    def backward(ctx: Any, *of_outputs: Any) -> tuple[Tensor | None, ...]:
        factors, has_loss, n_losses = ctx.saved_tensors
        of_losses, of_regularizer = ctx.dtypes
        of_sample = of_outputs[0] / (ctx.divisor if n_losses is None else n_losses)
        regularizer = None
        if of_regularizer is not None and ctx.needs_input_grad[1]:
            regularizer = torch.where(has_loss, of_sample, 0).to(of_regularizer)
        return (factors * of_sample).to(of_losses), regularizer, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, *of_inputs: Any) -> tuple[Tensor, None]:
        of_losses, of_regularizer, *_ = of_inputs
        factors, has_loss, n_losses = ctx.saved_tensors
        change = torch.zeros_like(factors) if of_losses is None else factors * of_losses
        if of_regularizer is not None:
            change = torch.where(has_loss, change + of_regularizer, 0)
        return change.sum() / (ctx.divisor if n_losses is None else n_losses), None
