"""PairMeans: the mean over pairs in the loss that a trainer computes, with weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class PairMeans(TorchFunctionMode):
    """Once the model has returned, the first means of one loss per pair are weighted means, and the losses are kept.

    The trainers compute the loss of each pair in one of many ways, and return only ``losses.mean()``. Later means are
    those of numbers that are logged.
    """

    def __init__(self, n_pairs: int, n_means: int, weighted_mean: Callable[[Tensor], Tensor]) -> None:
        self.n_pairs = n_pairs
        self.n_means = n_means
        self.weighted_mean = weighted_mean
        self.losses: list[Tensor] = []
        self.means: list[Tensor] = []
        self.has_outputs = False
        super().__init__()

    def begin(self, module: Any, inputs: Any, outputs: Any) -> None:
        """Note that the model has returned its outputs."""
        self.has_outputs = True

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.mean or kwargs or len(args) != 1 or not self._is_next_loss(args[0]):
            return func(*args, **(kwargs or {}))
        self.losses.append(args[0])
        self.means.append(self.weighted_mean(args[0]))
        return self.means[-1]

    def reached(self, loss: Tensor) -> bool:
        """Return whether the gradient of the trainer's loss reaches the weighted means."""
        gradients = torch.autograd.grad(loss, self.means, retain_graph=True, allow_unused=True)
        return all(gradient is not None for gradient in gradients)

    def _is_next_loss(self, values: Tensor) -> bool:
        is_next = self.has_outputs and len(self.losses) < self.n_means
        return is_next and values.requires_grad and values.shape == (self.n_pairs,)
