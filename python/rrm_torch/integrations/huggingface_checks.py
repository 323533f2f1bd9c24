"""Checks that the loss of a Trainer is that of `RRMMixin.sample_losses`."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor
from transformers import Trainer

LOSS_TOLERANCE = 0.05
"""Relative difference of the model's own loss from the mean of the samples' losses from which on a warning is due."""


def check_uses_sample_losses(compute_loss: Any, compute_loss_func: Any, *, is_overridden: bool) -> None:
    """Raise a ValueError if a trainer has a loss of its own that is one number for a batch.

    Parameters
    ----------
    compute_loss : method
        Of the trainer that `RRMMixin` stands before.
    compute_loss_func : callable or None
        Given to the trainer.
    is_overridden : bool
        Whether `RRMMixin.sample_losses` is overridden.
    """
    if compute_loss_func is not None:
        raise ValueError(
            "compute_loss_func must be None: it returns one number for a batch; override sample_losses, which "
            "returns one per sample"
        )
    other = compute_loss.__func__
    if other is not Trainer.compute_loss and not is_overridden:
        raise ValueError(
            f"{other.__qualname__} returns one number for a batch; override sample_losses, which returns that loss "
            "of each sample"
        )


def warn_of_another_loss(model_loss: Tensor | None, losses: Tensor) -> None:
    """Warn if the loss that a model returns for a batch is not the mean of the samples' losses."""
    if model_loss is None:
        return
    # One number for each device, with torch.nn.DataParallel.
    model_loss = model_loss.detach().mean()
    mean = losses.detach().nanmean()
    if bool((model_loss - mean).abs() > LOSS_TOLERANCE * mean.abs()):
        warnings.warn(
            f"the model's own loss of the first batch is {float(model_loss):.4g}, and the mean of sample_losses "
            f"{float(mean):.4g}, on which it is trained: override sample_losses, so that it returns the model's "
            "loss of each sample",
            stacklevel=2,
        )
