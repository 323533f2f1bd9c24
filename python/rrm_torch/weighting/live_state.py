"""LiveState: everything about the samples that training changes, replaced as a whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

import rrm_core

from .loss_buffer import LossBuffer
from .prediction_buffer import PredictionBuffer
from .pruning_history import PruningHistory


@dataclass(frozen=True)
class LiveState:
    """The state of an `RRM` or `BatchRRM` in memory.

    `RRM.step`, `load_state_dict` and what else replaces state make a new one, and store it by one assignment: after any
    error or interrupt the state is the one before or the one after. Two tensors are written in place, by one batch at
    a time: those of `buffer`, and in `BatchRRM` the weights.

    Attributes
    ----------
    epoch : int
        Epochs that have ended; steps where these are counted.
    weights, losses : Tensor, shape (n_local,)
        float32, or float64 once a loss of float64 has come.
    trajectory : PruningHistory
        Never changed once it is part of a state.
    buffer : LossBuffer
    plan : Plan, GroupedPlan or None
    ranking : Tensor, shape (n_local,), or None
        The numbers by which the last reweight ranked the samples: as `losses`; None if these were the losses.
    predictions : PredictionBuffer or None
        In a warm-up that ends with an estimate; it is written in place, too.
    estimate : ContaminationEstimate or None
    epochs : int or None
        The planned number of epochs; None if it isn't known.
    """

    epoch: int
    weights: Tensor
    losses: Tensor
    trajectory: PruningHistory
    buffer: LossBuffer
    plan: rrm_core.Plan | rrm_core.GroupedPlan | None = None
    ranking: Tensor | None = None
    predictions: PredictionBuffer | None = None
    estimate: rrm_core.ContaminationEstimate | None = None
    epochs: int | None = None

    @property
    def warmup_end(self) -> int | None:
        """The epoch or step that the estimate followed; None without one."""
        return None if self.estimate is None else self.estimate.epoch

    @property
    def last_reweight(self) -> int:
        """The epoch that the last reweight followed; 0 before the first."""
        rounds = self.trajectory.rounds
        return rounds[-1].epoch if rounds else 0

    @torch.inference_mode(False)
    def to(self, device: torch.device) -> LiveState:
        """Return the state on a device."""
        return replace(
            self,
            weights=self.weights.to(device),
            losses=self.losses.to(device),
            trajectory=self.trajectory.to(device),
            buffer=self.buffer.to(device),
            ranking=None if self.ranking is None else self.ranking.to(device),
            predictions=None if self.predictions is None else self.predictions.to(device),
        )

    @torch.inference_mode(False)
    def double(self) -> LiveState:
        """Return the state in float64, which holds the same numbers."""
        if self.weights.dtype == torch.float64:
            return self
        return replace(
            self,
            weights=self.weights.double(),
            losses=self.losses.double(),
            buffer=self.buffer.double(),
            ranking=None if self.ranking is None else self.ranking.double(),
        )
