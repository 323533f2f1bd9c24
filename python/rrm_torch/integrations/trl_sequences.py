"""`RRMSFTMixin`: weights of sequences for supervised fine-tuning with trl."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..weighting.settings import AUTO
from .huggingface import RRMMixin


class RRMSFTMixin(RRMMixin):
    """Weights of sequences for `trl.SFTTrainer`: the tokens of a sequence have its weight, and its loss is their mean.

    The loss of a batch is the sum of weight times the losses of a sequence's tokens, divided by the trainer's own
    number of tokens. See `RRMMixin` for the argument `rrm` and the attribute. Indices are those of
    ``trainer.train_dataset``, from which trl removes sequences without a token to learn. Sequences have no classes, so
    that contamination and warm-up are numbers. `sample_losses` is not used.

    Raises
    ------
    TypeError, ValueError
        As `RRMMixin`; contamination or warm-up is ``"auto"``, or is missing; or the trainer packs several sequences
        into a row, smooths labels, or uses another ``loss_type`` than ``"nll"``.
    """

    # The trainer divides by the number of tokens of all accumulated batches.
    loss_is_scaled_for_ga = None
    _uses_sample_losses = False
    _usage = "an override of compute_loss bypasses it; call super().compute_loss"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if getattr(self, "compute_loss_func", None) is not None and self.args.loss_type == "nll":
            raise ValueError("compute_loss_func must be None: it returns one number for a batch")
        for name, allowed in (("packing", False), ("padding_free", False), ("label_smoothing_factor", 0.0)):
            if getattr(self.args, name) != allowed:
                raise ValueError(f"{name} must be {allowed}, so that each row has one sequence and its own loss")
        if self.args.loss_type != "nll":
            raise ValueError(f"loss_type must be 'nll', got {self.args.loss_type!r}")

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        if AUTO in (settings.get("contamination"), settings.get("warmup")):
            raise ValueError(
                "rrm must have a contamination that is a number: the estimate of 'auto' needs classes, and sequences "
                "have none; rrm_review.draw_samples draws 100 of them to check by hand"
            )
        return settings

    def _weighted_loss(
        self, model: Any, inputs: dict[str, Any], index: Tensor, num_items_in_batch: Any
    ) -> tuple[Tensor, Any]:
        rrm = self.rrm
        assert rrm is not None

        def weight_tokens(module: Any, args: Any, outputs: Any) -> None:  # noqa: ARG001
            """Weight the logarithms of the tokens' probabilities by sequence."""
            n_tokens = outputs.label_mask.sum(1)
            losses = torch.where(n_tokens > 0, -outputs.log_probs.detach().sum(1) / n_tokens, torch.nan)
            rrm.record(losses, index)
            weights = rrm.weights_for(index).to(outputs.log_probs.dtype)[:, None]
            # Also where a pruned sequence has an infinite loss.
            outputs.log_probs = torch.where(weights > 0, outputs.log_probs * weights, 0)

        forward = model.register_forward_hook(weight_tokens)
        try:
            return self._trainers_loss(model, inputs, num_items_in_batch), None
        finally:
            forward.remove()
