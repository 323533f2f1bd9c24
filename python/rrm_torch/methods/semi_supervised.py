"""The semi-supervised loss that DivideMix and Centrality and Consistency share.

Samples of the labelled set keep a share of their label; the labels of the others are guessed. All are mixed by MixUp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .mixup import MixUp
from .soft_labels import mean_prediction, sharpen, soft_cross_entropy, uniform_divergence


@dataclass(frozen=True, eq=False)
class Batch:
    """Labelled and unlabelled samples, each as two augmented views.

    Attributes
    ----------
    first, second : Tensor, shape (batch, ...)
        The views of the labelled samples.
    labels : Tensor, shape (batch, n_classes)
        Given labels as distributions.
    clean_probability : Tensor, shape (batch,)
        The probability that the given label is right: its share in the target.
    weights : Tensor, shape (batch,), optional
        Weights of the labels, from `RRM`. A label of weight 0 has no influence.
    unlabelled : tuple of two Tensors, shape (m, ...), optional
        The views of the unlabelled samples; None if there are none.
    """

    first: Tensor
    second: Tensor
    labels: Tensor
    clean_probability: Tensor
    weights: Tensor | None = None
    unlabelled: tuple[Tensor, Tensor] | None = None

    @property
    def n_rows(self) -> int:
        """Rows of all views together, which MixUp permutes."""
        n_unlabelled = 0 if self.unlabelled is None else 2 * len(self.unlabelled[0])
        return 2 * len(self.first) + n_unlabelled


class Targets(NamedTuple):
    """Soft labels of a batch, shape (batch, n_classes): of its labelled samples, and of the others if there are any."""

    labelled: Tensor
    unlabelled: Tensor | None


@dataclass(frozen=True, eq=False)
class MixedBatch:
    """Mixtures of all views of a batch.

    Attributes
    ----------
    inputs : Tensor, shape (rows, ...)
        The rows of labelled samples come first.
    labelled : Tensor, shape (2 * batch, n_classes)
        Targets of those rows, in which weights are multiplied to the targets of labelled samples.
    unlabelled : Tensor, shape (2 * m, n_classes)
        Targets of the other rows, without weights: the squared error is not linear in the target.
    """

    inputs: Tensor
    labelled: Tensor
    unlabelled: Tensor


class Terms(NamedTuple):
    """Terms of the semi-supervised loss, each of shape ().

    Attributes
    ----------
    labelled : Tensor
        L_X, the mean soft cross-entropy of the labelled rows.
    unlabelled : Tensor
        L_U, the mean squared error of the unlabelled rows' predictions; 0 without any.
    penalty : Tensor
        The divergence of the mean prediction from the uniform distribution.
    unlabelled_weight : float
    """

    labelled: Tensor
    unlabelled: Tensor
    penalty: Tensor
    unlabelled_weight: float

    @property
    def total(self) -> Tensor:
        """The loss: ``labelled + unlabelled_weight * unlabelled + penalty``."""
        return self.labelled + self.unlabelled_weight * self.unlabelled + self.penalty


@torch.no_grad()
def guess_targets(model: nn.Module, other: nn.Module, batch: Batch, temperature: float) -> Targets:
    """Return the targets of a batch, from predictions for its views.

    Each view is a forward pass of its own, since those in training mode update the running statistics of batch norm.

    Parameters
    ----------
    model : nn.Module
        The network to train, in training mode.
    other : nn.Module
        The other network, in evaluation mode. It takes part in the guesses for unlabelled samples only.
    batch : Batch
    temperature : float
        See `sharpen`.
    """
    unlabelled = None
    if batch.unlabelled is not None:
        guesses = [network(view).float() for network in (model, other) for view in batch.unlabelled]
        unlabelled = sharpen(mean_prediction(guesses), temperature)
    prediction = mean_prediction([model(view).float() for view in (batch.first, batch.second)])
    clean = batch.clean_probability
    if batch.weights is not None:
        # A pruned label must not act through the targets of unlabelled rows either.
        clean = clean * (batch.weights > 0)
    clean = clean[:, None]
    # Older versions of torch 2 cache the casts that autocast made here, without gradient, for the pass that trains.
    torch.clear_autocast_cache()
    return Targets(sharpen(clean * batch.labels + (1 - clean) * prediction, temperature), unlabelled)


def mix(batch: Batch, targets: Targets, mixup: MixUp) -> MixedBatch:
    """Return the mixtures of a batch's views and of their targets.

    Parameters
    ----------
    batch : Batch
    targets : Targets
        From `guess_targets`.
    mixup : MixUp
        Of ``batch.n_rows`` rows: both views of the labelled samples, then both of the others.
    """
    inputs = [batch.first, batch.second]
    labelled = targets.labelled
    weighted = labelled
    if batch.weights is not None:
        weighted = labelled * batch.weights[:, None]
    rows = [labelled, labelled]
    weighted_rows = [weighted, weighted]
    if batch.unlabelled is not None and targets.unlabelled is not None:
        inputs += batch.unlabelled
        rows += [targets.unlabelled, targets.unlabelled]
        weighted_rows += [targets.unlabelled, targets.unlabelled]
    n_labelled = 2 * len(labelled)
    return MixedBatch(
        inputs=mixup(torch.cat(inputs)),
        labelled=mixup(torch.cat(weighted_rows))[:n_labelled],
        unlabelled=mixup(torch.cat(rows))[n_labelled:],
    )


def loss_terms(logits: Tensor, mixed: MixedBatch, unlabelled_weight: float) -> Terms:
    """Return the terms of the loss from the outputs for a mixed batch.

    Parameters
    ----------
    logits : Tensor, shape (rows, n_classes)
    mixed : MixedBatch
    unlabelled_weight : float
        lambda_u.
    """
    logits = logits.float()
    n_labelled = len(mixed.labelled)
    labelled = soft_cross_entropy(logits[:n_labelled], mixed.labelled).mean()
    unlabelled = logits.new_zeros(())
    if len(mixed.unlabelled):
        unlabelled = (logits[n_labelled:].softmax(1) - mixed.unlabelled).square().mean()
    return Terms(labelled, unlabelled, uniform_divergence(logits), unlabelled_weight)
