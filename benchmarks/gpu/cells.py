"""The conditions that bench_gpu.py times: number and kind of losses, rule, mu."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.common.losses import FORMATS, Array, Losses

RULES: dict[str, dict[str, Any]] = {
    "contamination 0.2": {"contamination": 0.2},
    "gamma 1.6": {"gamma": 1.6},  # also prunes a fifth of exponential losses
    "recipients 0.1": {"contamination": 0.2, "redistribute": 0.1},
}
CONTAMINATION = next(iter(RULES))
MISLEADING = "misleading the GPU"
TIES = "30 % at the threshold"
SAMPLE_SIZE = 4096  # losses in the sample of the kernels: max_sample_size in csrc/cuda/reweight.h


@dataclass(frozen=True)
class Cell:
    """Conditions of one set of rounds.

    Attributes
    ----------
    rivals : bool
        Whether rivals on the GPU are timed.
    host : bool
        Whether the CPU's kernel and the way by host memory are timed.
    """

    what: Losses
    mu: float = 0.3
    rule: str = CONTAMINATION
    rivals: bool = False
    host: bool = False

    @property
    def options(self) -> dict[str, Any]:
        return {"mu": self.mu, **RULES[self.rule]}

    @property
    def bytes_of_loss(self) -> int:
        return {"float32": 4, "float64": 8}.get(self.what.format, 2)

    @property
    def bytes_of_weight(self) -> int:
        return 8 if self.what.format == "float64" else 4

    @property
    def floor(self) -> int:
        """Bytes a sample that must be moved: the losses twice, the old weights unless mu is 1, the new weights."""
        return 2 * self.bytes_of_loss + (1 if self.mu == 1 else 2) * self.bytes_of_weight

    def draw(self) -> Array:
        """Return the losses."""
        if self.what.distribution != MISLEADING:
            return self.what.draw()
        losses = replace(self.what, distribution="exponential").draw()
        losses[sample_indices(self.what.n)] = 100
        return losses


def sample_indices(n: int) -> Array:
    """Return the indices of the losses in the sample of the kernels: sample_index() in csrc/cuda/sample.h."""
    i = np.arange(SAMPLE_SIZE, dtype=np.int64)
    start = i * n // SAMPLE_SIZE
    end = (i + 1) * n // SAMPLE_SIZE
    hashed = i.astype(np.uint32) * np.uint32(0x9E3779B9)
    hashed = (hashed ^ hashed >> np.uint32(15)) * np.uint32(0x2C1B3C6D)
    hashed = (hashed ^ hashed >> np.uint32(12)) * np.uint32(0x297A2D39)
    hashed ^= hashed >> np.uint32(15)
    return start + ((end - start) * hashed.astype(np.int64) >> 32)


def cells(sizes: list[int], conditions: int) -> Iterator[Cell]:
    """Yield all sizes with all rivals, all sizes at mu = 1, then the other conditions at one size."""
    for n in sizes:
        yield Cell(Losses(n), rivals=True, host=True)
    for n in sizes:
        yield Cell(Losses(n), mu=1.0)
    for format in FORMATS:
        if format != "float32":
            yield Cell(Losses(conditions, format=format), rivals=True)
            yield Cell(Losses(conditions, format=format), mu=1.0)
    for rule in RULES:
        if rule != CONTAMINATION:
            yield Cell(Losses(conditions), rule=rule, rivals=True)
    for distribution in (TIES, MISLEADING):
        yield Cell(Losses(conditions, distribution), rivals=True)
    for distribution in ("10 % at the minimum", "sorted"):
        yield Cell(Losses(conditions, distribution))
