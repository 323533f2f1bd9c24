"""Numbers recorded from published implementations, and the batches that they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rrm_torch.methods.mixup import MixUp
from rrm_torch.methods.semi_supervised import Batch
from rrm_torch.methods.soft_labels import one_hot
from support.fixture_networks import N_CLASSES, fill

FOLDER = Path(__file__).parents[1] / "rrm_torch" / "methods" / "fixtures"

LABELS = torch.tensor([0, 3, 1, 4])
CLEAN_PROBABILITY = torch.tensor([0.9, 0.6, 0.3, 0.75])
PARTNERS = torch.tensor([5, 11, 0, 14, 7, 2, 9, 1, 12, 4, 15, 8, 3, 6, 13, 10])


def recorded_numbers(name: str) -> dict[str, Any]:
    """Return the recorded numbers of a method."""
    numbers: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return numbers


def division_batch(labels: Tensor = LABELS, weights: Tensor | None = None) -> Batch:
    """Return the batch of DivideMix and CC: four labelled and four unlabelled samples."""
    first, second, third, fourth = (fill((4, 3, 8, 8), s) for s in range(4))
    return Batch(first, second, one_hot(labels, N_CLASSES), CLEAN_PROBABILITY, weights, (third, fourth))


def division_mixup() -> MixUp:
    """Return the MixUp of that batch."""
    return MixUp(0.7, PARTNERS)


def largest_difference(values: Tensor, expected: Any) -> float:
    """Return the largest absolute difference from recorded numbers, computed in float64."""
    return float((values.detach().double() - torch.tensor(expected, dtype=torch.float64)).abs().max())
