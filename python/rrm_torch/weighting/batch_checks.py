"""Checks of a batch of losses and what is passed with it."""

from __future__ import annotations

import torch
from torch import Tensor


def check_batch(losses: Tensor, index: Tensor) -> None:
    """Raise unless these are the losses of a batch and the indices of its samples.

    Raises
    ------
    TypeError
        `index` is not a tensor of int64 or int32, or `losses` not one of floating-point numbers.
    ValueError
        They are not one-dimensional, or differ in length.
    RuntimeError
        They are inside a transform of torch.func, where nothing can be recorded.
    """
    check_index(index)
    check_floating("losses", losses)
    if losses.ndim != 1 or index.shape != losses.shape:
        raise ValueError(
            "losses and index must both have shape (batch,), "
            f"got {tuple(losses.shape)} and {tuple(index.shape)}; compute the loss with reduction='none', and pool "
            "several losses of one sample with rrm_torch.losses.pool"
        )


def check_index(index: object) -> None:
    """Raise a TypeError unless the indices of a batch's samples are a tensor of int64 or int32."""
    # Callers without a type checker pass NumPy arrays and lists.
    kind = index.dtype if isinstance(index, Tensor) else type(index).__name__
    if kind not in (torch.int64, torch.int32):
        raise TypeError(
            f"index must be a tensor of int64 or int32, got {kind}; rrm_torch.Indexed makes a loader yield one"
        )


def check_floating(name: str, values: Tensor) -> None:
    """Raise unless values are a tensor of floating-point numbers outside the transforms of torch.func.

    Raises
    ------
    TypeError, RuntimeError
    """
    values_object: object = values
    if not isinstance(values_object, Tensor) or not values_object.is_floating_point():
        kind = values_object.dtype if isinstance(values_object, Tensor) else type(values_object).__name__
        raise TypeError(f"{name} must be a tensor of floating-point numbers, got {kind}")
    if torch._C._functorch.is_functorch_wrapped_tensor(values):
        raise RuntimeError(
            f"{name} are inside a transform of torch.func, such as grad or vmap, where losses can't be recorded: "
            "multiply them by rrm.weights_for(index) there, return them as well, and pass them to rrm.record outside"
        )


def check_batch_options(
    losses: Tensor, regularizer: Tensor | None, ranking: Tensor | None, *, is_recorded: bool
) -> None:
    """Raise unless the optional arguments of `weighted_mean` fit a batch of losses.

    Raises
    ------
    TypeError, ValueError
        One is not a tensor of floating-point numbers in the shape of the losses; or `ranking` would not be recorded.
    """
    for name, values in (("regularizer", regularizer), ("ranking", ranking)):
        if values is None:
            continue
        check_floating(name, values)
        if values.shape != losses.shape:
            raise ValueError(f"{name} must have the losses' shape {tuple(losses.shape)}, got {tuple(values.shape)}")
    if ranking is not None and not is_recorded:
        raise ValueError("ranking is recorded in place of the losses: leave it out, or leave out record=False")
