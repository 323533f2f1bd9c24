"""The network of ProMix: two heads on the same features."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from ..losses.targets import full_precision


class Logits(NamedTuple):
    """The outputs of both heads, each of shape (batch, n_classes)."""

    primary: Tensor
    pseudo: Tensor


class TwoHeadNetwork(nn.Module):
    """A classifier with a primary head, and a pseudo head that also learns from guessed labels.

    Under autocast only the backbone runs in lower precision: losses are compared with one another.

    Parameters
    ----------
    backbone : nn.Module
        Returns features of shape (batch, n_features).
    n_features, n_classes : int
    """

    def __init__(self, backbone: nn.Module, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.backbone = backbone
        self.primary = nn.Linear(n_features, n_classes)
        self.pseudo = nn.Linear(n_features, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the primary head, shape (batch, n_classes)."""
        return self.both(x).primary

    def both(self, x: Tensor) -> Logits:
        """Return the logits of both heads."""
        features = full_precision(cast("Tensor", self.backbone(x)))
        with torch.autocast(features.device.type, enabled=False):
            return Logits(self.primary(features), self.pseudo(features))
