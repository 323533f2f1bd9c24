"""Accuracy: how often the predicted class is the label, counted batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from .._models import to_device
from .targets import IGNORED_CLASS, read_classes


class Accuracy:
    """Counts correct predictions on a device, so that no batch waits for it.

    Parameters
    ----------
    device : torch.device
        Of the outputs.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._n_correct = torch.zeros((), dtype=torch.int64, device=device)
        self._n_labelled = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, outputs: Tensor, y: Tensor) -> None:
        """Count a batch of logits, shape (batch, n_classes), and integer labels, shape (batch,), on any device.

        Raises
        ------
        TypeError, ValueError, IndexError
            See `read_classes`.
        """
        # Before the labels are moved, as their values can be checked on the host only.
        read_classes(outputs, y)
        y = to_device(y, self.device)
        self._n_correct += (outputs.argmax(1) == y).sum()
        self._n_labelled += (y != IGNORED_CLASS).sum()

    def share(self) -> float:
        """Return the share of the labelled samples that are predicted correctly; ValueError if there is none."""
        n_labelled = int(self._n_labelled)
        if n_labelled == 0:
            raise ValueError(
                "loader yields no batch with labels; an iterator yields its batches only once, so make it anew"
            )
        return int(self._n_correct) / n_labelled
