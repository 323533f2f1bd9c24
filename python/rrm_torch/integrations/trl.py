"""Trainers of trl with sample weights: reward models and DPO weight pairs, supervised fine-tuning weights sequences.

Needs the extra ``trl``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

try:
    from trl import DPOTrainer, RewardTrainer, SFTTrainer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("rrm_torch.integrations.trl needs trl: install rrm-core with the extra trl") from error

from ..weighting.held_out import random_share
from ..weighting.settings import AUTO
from .huggingface import RRMMixin

__all__ = ["RRMDPOTrainer", "RRMPairMixin", "RRMRewardTrainer", "RRMSFTMixin", "RRMSFTTrainer"]

LOSSES_WITHOUT_PAIRS = ("aot", "aot_unpaired", "sft")
"""Losses of DPO that are not a mean of one loss per pair."""

LOGISTIC_LOSSES = ("sigmoid", "sigmoid_norm")
"""Losses of DPO that are -log p of the chosen side."""

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

    def _begin(self, n_steps: int, steps_per_epoch: int) -> None:
        super()._begin(n_steps, steps_per_epoch)
        self._is_chosen_class_1 = random_share(0, len(self.train_dataset), SIDES_SEED, 0.5)

    def _weighted_loss(
        self, model: Any, inputs: dict[str, Any], index: Tensor, num_items_in_batch: Any
    ) -> tuple[Tensor, Any]:
        assert self.rrm is not None
        rrm = self.rrm
        factors = self._factors()
        means = _PairMeans(len(index), len(factors), lambda losses: rrm.weighted_mean(losses, index, record=False))
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


class RRMRewardTrainer(RRMPairMixin, RewardTrainer):
    """`trl.RewardTrainer` with weights of pairs: ``RRMRewardTrainer(..., rrm=dict(contamination="auto"))``.

    See `RRMPairMixin`. The term of ``center_rewards_coefficient`` is not weighted.
    """

    def _factors(self) -> list[float]:
        # The mean is that of log p.
        return [-1.0]


class RRMDPOTrainer(RRMPairMixin, DPOTrainer):
    """`trl.DPOTrainer` with weights of pairs: ``RRMDPOTrainer(..., rrm=dict(contamination="auto"))``.

    See `RRMPairMixin`. Every ``loss_type`` that is a mean over pairs can be used; ``"auto"`` needs ``"sigmoid"`` or
    ``"sigmoid_norm"``, without label smoothing and ``use_weighting``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self._loss_types():
            if name in LOSSES_WITHOUT_PAIRS:
                raise ValueError(f"loss_type={name!r} has no loss of each pair, which RRM weights; use 'sigmoid'")
        uses_auto = self.train_dataset is not None and AUTO in (
            self._settings().get("contamination"),
            self._settings().get("warmup"),
        )
        is_logistic = self._loss_types() in [[name] for name in LOGISTIC_LOSSES]
        if uses_auto and (not is_logistic or self.args.label_smoothing or self.args.use_weighting):
            raise ValueError(
                "'auto' needs loss_type='sigmoid' without label smoothing or use_weighting, got "
                f"{self.args.loss_type!r}, {self.args.label_smoothing} and {self.args.use_weighting}; give "
                "contamination and warmup as numbers"
            )

    def _loss_types(self) -> list[str]:
        loss_type = self.args.loss_type
        return [loss_type] if isinstance(loss_type, str) else list(loss_type)

    def _factors(self) -> list[float]:
        return list(getattr(self.args, "loss_weights", None) or [1.0] * len(self._loss_types()))


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


class RRMSFTTrainer(RRMSFTMixin, SFTTrainer):
    """`trl.SFTTrainer` with weights of sequences: ``RRMSFTTrainer(..., rrm=dict(contamination=0.2))``.

    See `RRMSFTMixin`.
    """


class _PairMeans(TorchFunctionMode):
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
