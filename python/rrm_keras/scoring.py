"""A pass over the training set in inference mode: the loss of each sample and, if needed, the predicted classes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from .classes import are_probabilities, number_of_classes, predict_classes, read_labels, read_outputs
from .dataset import RRMDataset
from .losses import SampleLoss
from .run import Scores
from .settings import Floats, Integers


def score(model: Any, data: RRMDataset, loss: SampleLoss, reason: str | None) -> Scores:
    """Return losses and predictions of all samples.

    Parameters
    ----------
    model : keras.Model
    data : RRMDataset
    loss : SampleLoss
    reason : str or None
        The setting that needs predictions, None if none does.

    Raises
    ------
    ValueError
        The loss isn't one number per sample; predictions are needed, and targets or outputs aren't classes.
    """
    losses = np.empty(data.n, np.float32)
    labels: list[Integers] = []
    outputs: list[Floats] = []
    for position in range(len(data)):
        part = score_batch(model, data, position, loss, reason)
        losses[part.rows] = part.losses
        if reason is not None:
            labels.append(part.labels)
            outputs.append(part.outputs)
    if reason is None:
        return Scores(losses, None, None)
    of_all = np.concatenate(outputs)
    from_logits = loss.from_logits
    if from_logits is None:
        from_logits = not are_probabilities(of_all)
    return Scores(losses, np.concatenate(labels), predict_classes(of_all, from_logits=from_logits))


class BatchScores:
    """Losses, labels and outputs of a batch.

    Attributes
    ----------
    rows : array of integers, shape (batch,)
    losses : float32 array of shape (batch,)
    labels : int64 array of shape (batch,)
        Empty if no predictions are needed.
    outputs : float64 array of shape (batch, n_classes) or (batch,)
        Empty if no predictions are needed.
    """

    def __init__(self, rows: Integers, losses: Floats, labels: Integers, outputs: Floats) -> None:
        self.rows = rows
        self.losses = losses
        self.labels = labels
        self.outputs = outputs


def score_batch(model: Any, data: RRMDataset, position: int, loss: SampleLoss, reason: str | None) -> BatchScores:
    """Return losses, labels and outputs of a batch, see `score`."""
    batch = data.read(position)
    predicted = keras.tree.map_structure(np.asarray, model.predict_on_batch(batch.x))
    losses = loss(batch.y, predicted, len(batch.rows))
    if reason is None:
        return BatchScores(batch.rows, losses, np.empty(0, np.int64), np.empty(0))
    outputs = read_outputs(predicted, reason)
    return BatchScores(batch.rows, losses, read_labels(batch.y, number_of_classes(outputs), reason), outputs)
