"""The losses to reweight, and the outcome that every rival must compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

CONTAMINATION = 0.2
BLOCK = 1 << 20  # samples checked at a time, so that a billion fit in memory
FORMATS = ("float16", "bfloat16", "float32", "float64")  # bfloat16, which NumPy lacks, is stored as uint16


def exponential(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    return rng.standard_exponential(n, dtype=dtype)


def bimodal(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    """Losses of clean samples around 0.3 and, for 30 %, of wrong labels around 2.5."""
    wrong = rng.random(n, dtype=np.float32) < 0.3
    centre = np.where(wrong, dtype(2.5), dtype(0.3))
    width = np.where(wrong, dtype(0.5), dtype(0.1))
    return np.abs(centre + width * rng.standard_normal(n, dtype=dtype))


def ties_at_minimum(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    losses = rng.standard_exponential(n, dtype=dtype)
    losses[rng.random(n, dtype=np.float32) < 0.1] = 0
    return losses


def ascending(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    losses = exponential(rng, n, dtype)
    losses.sort()
    return losses


def ties_at_threshold(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    """Distinct losses, except that those between the ranks 65 % and 95 % are 1."""
    place = rng.random(n, dtype=np.float32)
    above = 1 + rng.standard_exponential(n, dtype=dtype)
    return np.where(place < 0.65, rng.random(n, dtype=dtype), np.where(place < 0.95, dtype(1), above))


def misleading(rng: np.random.Generator, n: int, dtype: Any) -> Array:
    """Losses that are high exactly where the kernel samples them."""
    losses = exponential(rng, n, dtype)
    losses[sampled_places(n)] = 100
    return losses


def sampled_places(n: int) -> Array:
    """Return the indices of the losses that the kernel samples first, of n."""
    from rrm_core import _cpu

    return np.array(_cpu.sample_indices(n), np.int64)


DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, int, Any], Array]] = {
    "exponential": exponential,
    "bimodal": bimodal,
    "10 % at the minimum": ties_at_minimum,
    "sorted": ascending,
    "30 % at the threshold": ties_at_threshold,
    "misleading": misleading,
}


@dataclass(frozen=True)
class Losses:
    """Description of an array of losses, from which any process draws the same array."""

    n: int
    distribution: str = "exponential"
    format: str = "float32"

    @property
    def rank(self) -> int:
        """Rank of the threshold: it is the rank-th smallest loss."""
        return self.n - int(np.floor(CONTAMINATION * self.n))

    @property
    def weights_type(self) -> type[Any]:
        return np.float64 if self.format == "float64" else np.float32

    def draw(self) -> Array:
        losses = DISTRIBUTIONS[self.distribution](np.random.default_rng(self.n), self.n, self.weights_type)
        if self.format == "bfloat16":
            return (losses.view(np.uint32) >> 16).astype(np.uint16)
        return losses.astype(self.format, copy=False)


def values(losses: Array) -> Array:
    """Return the losses as numbers that NumPy can compare."""
    return (losses.astype(np.uint32) << 16).view(np.float32) if losses.dtype == np.uint16 else losses


@dataclass(frozen=True)
class Answer:
    """Threshold, minimum and counts, which every rival computes before it writes weights."""

    threshold: float
    lowest: float
    n_lowest: int
    n_above: int

    @classmethod
    def compute(cls, losses: Array, rank: int) -> Answer:
        numbers = values(losses)
        threshold = np.partition(numbers, rank - 1)[rank - 1]
        lowest = numbers.min()
        n_lowest = int(np.count_nonzero(numbers == lowest))
        n_above = int(np.count_nonzero(numbers > threshold))
        return cls(float(threshold), float(lowest), n_lowest, n_above)

    @property
    def top(self) -> float:
        """The target of a sample at the minimum."""
        return 1 + self.n_above / self.n_lowest

    def weights(self, losses: Array, old: Array, mu: float) -> Array:
        """Return the weights by the definition, each operation rounded to the weights' type."""
        numbers = values(losses)
        dtype = old.dtype.type
        target = np.where(numbers > self.threshold, 0.0, np.where(numbers == self.lowest, self.top, 1.0))
        part = dtype(mu) * target.astype(dtype)
        if mu == 1:
            return part
        return dtype(1 - mu) * old + part


def blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def vary(weights: Array) -> None:
    """Write varying weights from 0.5 to 1.5, which reveal a rival that reads the wrong ones."""
    pattern = (0.5 + np.arange(BLOCK) % 1021 / 1021).astype(weights.dtype)
    for block in blocks(weights.size):
        weights[block] = pattern[: block.stop - block.start]


def count_wrong(answer: Answer, losses: Array, weights: Array, mu: float) -> int:
    """Return the number of weights that differ in any bit from those expected after `vary`."""
    pattern = np.empty(min(BLOCK, weights.size), weights.dtype)
    vary(pattern)
    wrong = 0
    for block in blocks(weights.size):
        expected = answer.weights(losses[block], pattern[: block.stop - block.start], mu)
        wrong += int(np.count_nonzero(expected != weights[block]))
    return wrong
