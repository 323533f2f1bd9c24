"""`RRMPairMixin`: weights of pairs for the trainers of trl that learn from preferences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..weighting.held_out import random_share
from .huggingface import RRMMixin
from .pair_means import PairMeans

SIDES_SEED = 0x5EED
"""Of the bits that decide which side of a pair is called class 1."""


class RRMPairMixin(RRMMixin):
    """Weights of pairs for a trainer whose loss is the mean of one loss per pair, such as `trl.RewardTrainer`.

    The loss of a pair is high where the model prefers the rejected answer, so that pairs with the answers in the wrong
    order are pruned. See `RRMMixin` for the argument `rrm` and the attribute. Indices are those of
    ``trainer.train_dataset``, from which trl removes pairs that are too long. `sample_losses` is not used.

    Raises
    ------
    TypeError, ValueError
        As `RRMMixin`; or a pair has no loss of its own, or none that is a logarithm of a probability, which
        ``contamination="auto"`` and ``warmup="auto"`` need.

    Notes
    -----
    The estimate is made for two classes: for each pair a fixed random bit decides which side is called class 1; the
    label is the side that was chosen, and the logit is the margin by which the model prefers class 1.
    """

    _uses_sample_losses = False
    _usage = "an override of compute_loss bypasses it; call super().compute_loss"

    def _begin(self, n_steps: int, steps_per_epoch: int) -> None:
        super()._begin(n_steps, steps_per_epoch)
        self._is_chosen_class_1 = random_share(0, len(self.train_dataset), SIDES_SEED, 0.5)

    def _weighted_loss(
        self, model: Any, inputs: dict[str, Any], index: Tensor, num_items_in_batch: Any
    ) -> tuple[Tensor, Any]:
        assert self.rrm is not None
        rrm = self.rrm
        factors = self._factors()
        means = PairMeans(len(index), len(factors), lambda losses: rrm.weighted_mean(losses, index, record=False))
        # Means in the model are none of its loss.
        forward = model.register_forward_hook(means.begin)
        try:
            with means:
                mean = self._trainers_loss(model, inputs, num_items_in_batch)
        finally:
            forward.remove()
        if len(means.losses) != len(factors) or not means.reached(mean):
            raise RuntimeError(
                f"{type(self).__name__} can't weight the pairs: this version of trl computes its loss in another way "
                "than as a mean over the pairs of a batch"
            )
        terms = [factor * values.detach() for factor, values in zip(factors, means.losses, strict=True)]
        losses = torch.stack(terms).sum(0)
        labels = self._is_chosen_class_1[index.cpu()].to(index.device)
        margins = self._margins(losses, inputs)
        rrm.weighted_mean(losses, index, logits=torch.where(labels, margins, -margins), labels=labels.long())
        return self._as_part_of_step(mean, len(index)), None

    def _factors(self) -> list[float]:
        """Return the factor of each mean over pairs in the trainer's loss."""
        return [1.0]

    def _margins(self, losses: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """Return the margins by which the model prefers the chosen answers: logits of p, where the loss is -log p."""
        margins = -losses.expm1().log()
        return margins + inputs["margin"] if "margin" in inputs else margins
