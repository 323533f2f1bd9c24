"""Checks of a batch of losses and what is passed with it."""

from __future__ import annotations

import torch
from torch import Tensor


def check_batch(losses: Tensor, index: Tensor) -> None:
    """Raise unless these are the losses of a batch and the indices of its samples.

    Raises
    ------
    TypeError
        `index` is not a tensor of int64 or int32.
    ValueError
        They are not one-dimensional, or differ in length.
    """
    # Callers without a type checker pass NumPy arrays and lists.
    index_object: object = index
    kind = index_object.dtype if isinstance(index_object, Tensor) else type(index_object).__name__
    if kind not in (torch.int64, torch.int32):
        raise TypeError(
            f"index must be a tensor of int64 or int32, got {kind}; rrm_torch.Indexed makes a loader yield one"
        )
    if losses.ndim != 1 or index.shape != losses.shape:
        raise ValueError(
            "losses and index must both have shape (batch,), "
            f"got {tuple(losses.shape)} and {tuple(index.shape)}; compute the loss with reduction='none', and pool "
            "several losses of one sample with rrm_torch.losses.pool"
        )


def check_same_shape(name: str, values: Tensor | None, losses: Tensor) -> None:
    """Raise a ValueError unless an optional argument has the shape of the losses."""
    if values is not None and values.shape != losses.shape:
        raise ValueError(f"{name} must have the losses' shape {tuple(losses.shape)}, got {tuple(values.shape)}")
