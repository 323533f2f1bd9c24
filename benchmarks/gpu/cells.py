"""What bench_gpu.py times: how many losses of which kind, by which rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.common.losses import FORMATS, Array, Losses

RULES: dict[str, dict[str, Any]] = {
    "contamination 0.2": {"contamination": 0.2},
    "gamma 1.6": {"gamma": 1.6},  # prunes a fifth of exponential losses too
    "recipients 0.1": {"contamination": 0.2, "redistribute": 0.1},
}
CONTAMINATION = next(iter(RULES))
MISLEADING = "misleading the GPU"
TIES = "30 % at the threshold"
DRAWN = 4096  # losses that the kernels look at first: most_drawn in csrc/cuda/reweight.h


@dataclass(frozen=True)
class Cell:
    """What is timed in one set of rounds.

    Attributes
    ----------
    rivals : bool
        Other ways to do the job on the GPU take part.
    host : bool
        So do the CPU and the way by host memory.
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
        """Bytes a sample that have to be moved: the losses twice, the old weights unless mu is 1, the new ones."""
        return 2 * self.bytes_of_loss + (1 if self.mu == 1 else 2) * self.bytes_of_weight

    def draw(self) -> Array:
        """Return the losses."""
        if self.what.distribution != MISLEADING:
            return self.what.draw()
        losses = replace(self.what, distribution="exponential").draw()
        losses[drawn_places(self.what.n)] = 100
        return losses


def drawn_places(n: int) -> Array:
    """Return the indices at which the kernels look first: place() in csrc/cuda/draw.h."""
    i = np.arange(DRAWN, dtype=np.int64)
    begin = i * n // DRAWN
    end = (i + 1) * n // DRAWN
    hashed = i.astype(np.uint32) * np.uint32(0x9E3779B9)
    hashed = (hashed ^ hashed >> np.uint32(15)) * np.uint32(0x2C1B3C6D)
    hashed = (hashed ^ hashed >> np.uint32(12)) * np.uint32(0x297A2D39)
    hashed ^= hashed >> np.uint32(15)
    return begin + ((end - begin) * hashed.astype(np.int64) >> 32)


def cells(sizes: list[int], conditions: int) -> Iterator[Cell]:
    """Yield the sizes with all rivals, then without old weights, then everything else at one size."""
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
