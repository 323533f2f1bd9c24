"""Random draws of a method: a function of the seed and of the epoch, so that no state of a generator is saved."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Draws:
    """Generators that are the same whenever they are made with the same numbers.

    A method makes one for each epoch and network. So a run that resumes after an epoch draws the same numbers as one
    that was not interrupted.

    Parameters
    ----------
    *key : int, at least 0
        The seed, the epoch, and further numbers that tell uses apart. Zeros at the end make no difference: draws of
        ``(seed, epoch)`` are those of ``(seed, epoch, 0)``.
    device : torch.device, optional
        That of the generator, by default the CPU. Others draw other numbers.

    Attributes
    ----------
    generator : torch.Generator
        For permutations and augmentation.
    """

    def __init__(self, *key: int, device: torch.device | None = None) -> None:
        sequence = np.random.SeedSequence(key)
        seed = int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
        self._numpy = np.random.default_rng(sequence)
        self.generator = torch.Generator(device or torch.device("cpu")).manual_seed(seed)

    def permutation(self, n: int) -> Tensor:
        """Return the indices in [0, n) in a random order: int64, shape (n,)."""
        return torch.randperm(n, generator=self.generator, device=self.generator.device)

    def beta(self, alpha: float) -> float:
        """Return a number from the distribution Beta(alpha, alpha)."""
        return float(self._numpy.beta(alpha, alpha))
