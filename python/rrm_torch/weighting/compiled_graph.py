"""`weighted_mean` within `torch.compile`: two operators that its graph calls as they are.

They run what a call outside a graph runs, and so they give its bits; a compiler that saw the sum could add in another
order.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from .weighted_average import weighted_average


class Weighting(Protocol):
    """An `RRM` or `BatchRRM`."""

    def _weigh(
        self,
        losses: Tensor,
        index: Tensor,
        regularizer: Tensor | None,
        ranking: Tensor | None,
        record: bool,
        logits: Tensor | None,
        labels: Tensor | None,
    ) -> Tensor: ...


# A graph holds numbers and tensors, and so a number stands for an RRM.
_LIVE: WeakValueDictionary[int, Weighting] = WeakValueDictionary()
_NUMBERS = count()


def register(rrm: Weighting) -> int:
    """Return the number by which a graph knows an RRM, as long as that lives."""
    number = next(_NUMBERS)
    _LIVE[number] = rrm
    return number


@torch.library.custom_op("rrm_torch::batch_weights", mutates_args=("order",))
def batch_weights(
    losses: Tensor,
    is_double: bool,
    index: Tensor,
    regularizer: Tensor | None,
    ranking: Tensor | None,
    logits: Tensor | None,
    labels: Tensor | None,
    number: int,
    record: bool,
    order: Tensor,  # noqa: ARG001
) -> Tensor:
    """Check a batch, and record its losses if `record` is true; return its weights, float64 if `is_double` is true.

    `number` is that of the RRM. `order` is a tensor that the operator is said to change, so that a compiler neither
    drops nor reorders its calls.
    """
    rrm = _LIVE.get(number)
    if rrm is None:
        raise RuntimeError(
            "the graph was made with an RRM that no longer exists: keep the RRM as long as the graph, or compile or "
            "export the function again"
        )
    weights = rrm._weigh(losses, index, regularizer, ranking, record, logits, labels)
    # Another dtype if a loss of float64 has come since the graph was made. A graph requires a copy.
    return weights.to(torch.float64 if is_double else torch.float32, copy=True)


@batch_weights.register_fake
def _batch_weights(losses: Tensor, is_double: bool, *_: Any) -> Tensor:
    return losses.new_empty(losses.shape, dtype=torch.float64 if is_double else torch.float32)


@torch.library.custom_op("rrm_torch::weighted_average", mutates_args=())
def average(
    losses: Tensor, weights: Tensor, regularizer: Tensor | None, divisor: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `weighted_average` does, the divisor in the dtype of the mean."""
    mean, has_loss, divided_by = weighted_average(losses, weights, regularizer, divisor)
    return mean, has_loss, torch.as_tensor(divided_by, dtype=mean.dtype, device=mean.device)


@average.register_fake
def _average(
    losses: Tensor, weights: Tensor, regularizer: Tensor | None, _divisor: float | None
) -> tuple[Tensor, Tensor, Tensor]:
    dtype = torch.result_type(losses, weights)
    if regularizer is not None:
        dtype = torch.promote_types(dtype, regularizer.dtype)
    mean = losses.new_empty((), dtype=dtype)
    return mean, losses.new_empty(losses.shape, dtype=torch.bool), torch.empty_like(mean)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    losses, weights, regularizer, _ = inputs
    _, has_loss, divisor = output
    ctx.save_for_backward(weights, has_loss, divisor)
    ctx.dtypes = (losses.dtype, None if regularizer is None else regularizer.dtype)


def _gradients(ctx: Any, of_mean: Tensor, *_: Any) -> tuple[Tensor, None, Tensor | None, None]:
    weights, has_loss, divisor = ctx.saved_tensors
    of_losses, of_regularizer = ctx.dtypes
    of_sample = torch.where(has_loss, of_mean / divisor, 0)
    gradient = torch.where(weights == 0, 0, of_sample) * weights
    return gradient.to(of_losses), None, None if of_regularizer is None else of_sample.to(of_regularizer), None


average.register_autograd(_gradients, setup_context=_save)
