"""Accuracy on a test set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from .._models import device_of, evaluation_mode, no_grad_context, to_device, unwrap_ddp


def evaluate(model: nn.Module, loader: Iterable[Sequence[Tensor]]) -> float:
    """Return the accuracy of a classifier.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits; put in evaluation mode for the pass.
    loader : iterable of (index, x, y) or of (x, y)
        Usually the test set.

    Returns
    -------
    float
        Share of samples whose predicted class is their label, in [0, 1].

    Raises
    ------
    ValueError
        The loader yields no batch.
    """
    model = unwrap_ddp(model)
    device = device_of(model)
    # Counted on the device, so that no batch waits for it.
    n_correct = torch.zeros((), dtype=torch.int64, device=device)
    n_samples = 0
    with evaluation_mode(model), no_grad_context(model):
        for *_, x, y in loader:
            predicted = model(to_device(x, device)).argmax(1)
            n_correct += (predicted == to_device(y, device)).sum()
            n_samples += len(y)
    if n_samples == 0:
        raise ValueError("loader yields no batch")
    return int(n_correct) / n_samples
