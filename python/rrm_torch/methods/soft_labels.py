"""Soft labels: sharpening, soft cross-entropy, and terms that the mean prediction of a batch adds to a loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def one_hot(labels: Tensor, n_classes: int) -> Tensor:
    """Return classes as float32 distributions, shape (batch, n_classes)."""
    return F.one_hot(labels, n_classes).float()


def check_logits(logits: Tensor, n_classes: int) -> None:
    """Raise a ValueError unless a network returns logits for the classes of its labels."""
    if logits.ndim != 2 or logits.shape[1] != n_classes:
        raise ValueError(
            f"a network must return logits of shape (batch, {n_classes}), got {tuple(logits.shape)}; give its last "
            f"layer {n_classes} outputs, or correct n_classes"
        )


def sharpen(probabilities: Tensor, temperature: float) -> Tensor:
    """Return ``p ** (1 / T)``, normalised: for T below 1, each distribution closer to its most probable class.

    Parameters
    ----------
    probabilities : Tensor, shape (batch, n_classes)
    temperature : float, above 0
    """
    # Of the ratios to the largest, since all powers may be rounded to 0 at a low temperature.
    powers = (probabilities / probabilities.amax(1, keepdim=True)) ** (1 / temperature)
    return powers / powers.sum(1, keepdim=True)


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each sample with a soft label, shape (batch,).

    It is linear in the target, so that a weight may be multiplied to the target as well as to the loss.

    Parameters
    ----------
    logits : Tensor, shape (batch, n_classes)
    targets : Tensor, shape (batch, n_classes)
        Soft labels. They need not sum to 1.

    Raises
    ------
    ValueError
        The logits are not of the classes of the targets.
    """
    check_logits(logits, targets.shape[1])
    return -(targets * logits.log_softmax(1)).sum(1)


def uniform_divergence(logits: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of the batch's mean prediction from the uniform distribution, shape ().

    The sum over classes of ``log(1 / n_classes / mean prediction) / n_classes``. It keeps a network from predicting a
    single class (Tanaka et al., CVPR 2018).
    """
    n, n_classes = logits.shape
    # The logarithm of the mean stays finite where the mean itself is rounded to 0.
    log_mean = logits.log_softmax(1).logsumexp(0) - math.log(n)
    return -(log_mean + math.log(n_classes)).mean()


def negative_entropy(logits: Tensor) -> Tensor:
    """Return the mean negative entropy of the predictions, shape (): a penalty of confident ones."""
    log_p = logits.log_softmax(1)
    return (log_p.exp() * log_p).sum(1).mean()


def mean_prediction(logits: list[Tensor]) -> Tensor:
    """Return the mean of the softmax of several outputs, shape (batch, n_classes)."""
    return torch.stack([output.softmax(1) for output in logits]).mean(0)
