"""The network of Centrality and Consistency: a classifier and two further heads."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..losses.targets import full_precision

N_REDUCED = 128


class CentralityNetwork(nn.Module):
    """A classifier with a reduction of its features, and two further heads on them.

    Under autocast only the backbone runs in lower precision: losses are compared with one another.

    Parameters
    ----------
    backbone : nn.Module
        Returns features of shape (batch, n_features).
    n_features, n_classes : int
    n_reduced : int, default 128
        Number of reduced features.
    """

    def __init__(self, backbone: nn.Module, n_features: int, n_classes: int, n_reduced: int = N_REDUCED) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(n_features, n_classes)
        self.reduction = nn.Linear(n_features, n_reduced)
        self.first_head = _head(n_reduced, n_classes)
        self.second_head = _head(n_reduced, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the classifier, shape (batch, n_classes)."""
        return self.classify(self.features(x))

    def features(self, x: Tensor) -> Tensor:
        """Return the features, at least float32, shape (batch, n_features)."""
        return full_precision(cast("Tensor", self.backbone(x)))

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of the classifier from features."""
        with torch.autocast(features.device.type, enabled=False):
            return cast("Tensor", self.classifier(features))

    def reduce(self, features: Tensor) -> Tensor:
        """Return the reduced features, shape (batch, n_reduced)."""
        with torch.autocast(features.device.type, enabled=False):
            return cast("Tensor", self.reduction(features))

    def heads(self, reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of both heads from reduced features."""
        with torch.autocast(reduced.device.type, enabled=False):
            return self.first_head(reduced), self.second_head(reduced)

    def main_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the backbone and of the classifier."""
        return [*self.backbone.parameters(), *self.classifier.parameters()]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the reduction and of both heads."""
        return [*self.reduction.parameters(), *self.first_head.parameters(), *self.second_head.parameters()]


def _head(n_reduced: int, n_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm1d(n_reduced), nn.ReLU(), nn.Linear(n_reduced, n_classes))
