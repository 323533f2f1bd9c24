"""Exponential moving averages of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


def averaged_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a network for its average, whose parameters have no gradient."""
    return copy.deepcopy(model).requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Set the parameters of an average to ``decay * average + (1 - decay) * model``.

    Buffers stay as they are. The running statistics of batch norm are those of the average's own forward passes, unlike
    those of `torch.optim.swa_utils.AveragedModel`, which are the model's or their average.

    Parameters
    ----------
    average : nn.Module
        From `averaged_copy`.
    model : nn.Module
    decay : float in [0, 1)
    """
    for mean, parameter in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(parameter, 1 - decay)
