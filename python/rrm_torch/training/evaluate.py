"""Accuracy on a test set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from .._models import device_of, evaluation_mode, no_grad_context, to_device, unwrap_ddp
from ..data.batch import split_batch
from ..losses.accuracy import Accuracy


def evaluate(model: nn.Module, loader: Iterable[Any]) -> float:
    """Return the accuracy of a classifier.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits, shape (batch, n_classes), of at least two classes; put in evaluation mode for
        the pass. The accuracy of a single logit is ``((logit > 0) == y).float().mean()``.
    loader : iterable of (index, x, y), of (x, y) or of dict
        Usually the test set. See `rrm_torch.fit` for dicts. Labels are integers, shape (batch,).

    Returns
    -------
    float
        Share of samples whose predicted class is their label, in [0, 1]. Samples of class -100 have no label, and
        aren't counted.

    Raises
    ------
    TypeError
        Outputs aren't a tensor of real floating-point numbers, or labels aren't one of integers.
    ValueError
        A shape is wrong, or the loader yields no sample with a label.
    IndexError
        A class on the host is out of range.
    """
    model = unwrap_ddp(model)
    device = device_of(model)
    accuracy = Accuracy(device)
    with evaluation_mode(model), no_grad_context(model):
        for batch in loader:
            _, x, y = split_batch(batch)
            accuracy.add(model(to_device(x, device)), y)
    return accuracy.share()
