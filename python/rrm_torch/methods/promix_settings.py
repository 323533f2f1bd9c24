"""The settings of ProMix, and what follows from them in each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

from .._checks import check_count
from .division import OnPruned, check_on_pruned
from .promix_loss import LossSettings
from .ramps import linear_ramp
from .selection import Quota
from .setting_checks import check_above_zero, check_batch_size, check_weight


@dataclass(frozen=True)
class ProMixSettings:
    """Settings of `ProMix`, see there."""

    contamination: float | None
    on_pruned: OnPruned
    warmup: int
    batch_size: int
    share: float
    final_share: float
    quota: Quota
    confidence: float
    agreement_confidence: float
    debiasing: float
    ramp: float
    pseudo_weight: float
    pseudo_epochs: int
    agreement_epoch: int
    confidence_penalty: float

    def __post_init__(self) -> None:
        check_count("warmup", self.warmup)
        check_count("pseudo_epochs", self.pseudo_epochs)
        check_batch_size(self.batch_size)
        for name, share in (("share", self.share), ("final_share", self.final_share)):
            if not 0 < share <= 1:
                raise ValueError(f"{name} must lie in (0, 1], got {share}")
        if self.contamination is not None and not isinstance(self.contamination, Real):
            raise TypeError(
                f"contamination must be a number in [0, 1) or None, got {self.contamination!r}; ProMix has no estimate"
            )
        if self.contamination is not None and not 0 <= self.contamination < 1:
            raise ValueError(f"contamination must lie in [0, 1), got {self.contamination}")
        if self.quota not in ("balanced", "class"):
            raise ValueError(f"quota must be 'balanced' or 'class', got {self.quota!r}")
        check_on_pruned(self.on_pruned)
        for name, confidence in (
            ("confidence", self.confidence),
            ("agreement_confidence", self.agreement_confidence),
        ):
            if not 0 < confidence < 1:
                raise ValueError(f"{name} must lie in (0, 1), got {confidence}")
        check_above_zero("ramp", self.ramp, " epochs")
        check_weight("debiasing", self.debiasing)
        check_weight("pseudo_weight", self.pseudo_weight)
        check_weight("confidence_penalty", self.confidence_penalty)

    def share_at(self, epoch: int) -> float:
        """Return the share of the samples that is chosen by losses in an epoch."""
        return self.share + (self.final_share - self.share) * linear_ramp(epoch, self.ramp)

    def loss_at(self, epoch: int) -> LossSettings:
        """Return the settings of the loss in an epoch, counted from 1."""
        pseudo_weight = 0.0
        if epoch <= self.pseudo_epochs:
            pseudo_weight = self.pseudo_weight * epoch / self.pseudo_epochs
        return LossSettings(
            consistency_weight=linear_ramp(epoch, self.ramp),
            pseudo_weight=pseudo_weight,
            confidence=self.confidence,
            agreement_confidence=self.agreement_confidence,
            debiasing=self.debiasing,
            agrees=epoch > self.agreement_epoch,
        )

    def contamination_of(self, chosen_share: float) -> float | None:
        """Return the share of wrong labels among the chosen samples, if all others are wrong; None if unknown."""
        if self.contamination is None:
            return None
        return max(0.0, self.contamination - (1 - chosen_share)) / chosen_share
