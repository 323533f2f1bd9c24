"""Trainers of trl with sample weights: reward models and DPO weight pairs, supervised fine-tuning weights sequences.

Needs the extra ``trl``.
"""

from __future__ import annotations

from typing import Any

try:
    from trl import DPOTrainer, RewardTrainer, SFTTrainer
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("rrm_torch.integrations.trl needs trl: install rrm-core with the extra trl") from error

from ..weighting.settings import AUTO
from .trl_pairs import RRMPairMixin
from .trl_sequences import RRMSFTMixin

__all__ = ["RRMDPOTrainer", "RRMPairMixin", "RRMRewardTrainer", "RRMSFTMixin", "RRMSFTTrainer"]

LOSSES_WITHOUT_PAIRS = ("aot", "aot_unpaired", "sft")
"""Losses of DPO that are not a mean of one loss per pair."""

LOGISTIC_LOSSES = ("sigmoid", "sigmoid_norm")
"""Losses of DPO that are -log p of the chosen side."""


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


class RRMSFTTrainer(RRMSFTMixin, SFTTrainer):
    """`trl.SFTTrainer` with weights of sequences: ``RRMSFTTrainer(..., rrm=dict(contamination=0.2))``.

    See `RRMSFTMixin`.
    """
