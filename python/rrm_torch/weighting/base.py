"""BaseRRM: what `RRM` and `BatchRRM` share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

import rrm_core

from .._models import to_device
from . import state as states
from .batch_checks import check_batch
from .layout import Layout, LayoutName
from .loss_buffer import LossBuffer
from .pruning_history import PruningHistory, Reweight
from .settings import BatchSettings, Unit


class BaseRRM(ABC):
    """The weights and losses of all samples, the losses recorded for the next reweight, and the history of pruning.

    Attributes
    ----------
    settings : BatchSettings
        The arguments, validated; constant.
    epoch : int
        Epochs that have ended; steps where these are counted.
    layout : {"replicated", "sharded"} or None
    trajectory : PruningHistory
        What each reweight pruned.
    """

    settings: BatchSettings

    def __init__(self, settings: BatchSettings, layout: Layout, layout_name: LayoutName | None = None) -> None:
        self.settings = settings
        self.epoch = 0
        self.layout = layout_name
        self.trajectory = PruningHistory(layout.n, layout)
        self._layout = layout
        self._weights = torch.ones(layout.n_local)
        self._losses = torch.full((layout.n_local,), torch.nan)
        self._buffer = self._new_buffer()
        self._plan: rrm_core.Plan | None = None
        self._warned_of_weight = False

    @property
    def n(self) -> int:
        """Number of training samples."""
        return self.settings.n

    @property
    def unit(self) -> Unit:
        """What `epoch` counts, and when to call `step`: after each epoch, or after each step of the optimizer."""
        return "epoch"

    @property
    def weights(self) -> Tensor:
        """Current sample weights: float32, shape (n_local,), all 1 before the first reweight.

        The state itself, not a copy; of the samples that this process stores, all n without a sharded layout.

        Their mean is 1; with ``redistribute="drop"`` it falls below.
        """
        return self._weights

    @property
    def losses(self) -> Tensor:
        """The losses behind the last reweight: float32, shape (n_local,); NaN before the first, or without one."""
        return self._losses

    @property
    def plan(self) -> rrm_core.Plan | None:
        """Threshold and counts of the last reweight; None before the first, and with `BatchRRM`."""
        return self._plan

    @property
    def due(self) -> bool:
        """Whether the next `step` reweights; never with `BatchRRM`."""
        return False

    def weights_for(self, index: Tensor) -> Tensor:
        """Return the current weights of some samples.

        Parameters
        ----------
        index : Tensor of integers, shape (batch,)
            The samples' indices in the training set; with a sharded layout, in this rank's slice.

        Returns
        -------
        Tensor of float32, shape (batch,)
            On the device of `weights`.

        Raises
        ------
        IndexError
            An index on the host is out of range.
        """
        begin, end = self._layout.begin, self._layout.end
        if index.device.type == "cpu":
            outside = index[(index < begin) | (index >= end)]
            if len(outside):
                raise IndexError(f"index must lie in [{begin}, {end}), the local samples, got {int(outside[0])}")
        return self._weights[to_device(index, self._weights.device) - begin]

    def record(self, losses: Tensor, index: Tensor) -> None:
        """Record the losses of a batch for the next `step` without weighting them, for a pass that only scores.

        Parameters
        ----------
        losses : Tensor, shape (batch,)
            One loss per sample.
        index : Tensor of integers, shape (batch,)
            The samples' indices in the training set.

        Raises
        ------
        TypeError, ValueError, IndexError
            As `weighted_mean`.
        """
        check_batch(losses, index)
        self._record(losses, index)

    def reset_losses(self) -> None:
        """Forget which losses were recorded, so that `step` uses only those recorded from now on."""
        self._buffer.reset()

    def to(self, device: torch.device) -> None:
        """Move the state to `device`; a no-op if it is there already. `weighted_mean` and `step` call this."""
        if self._weights.device != device:
            self._weights = self._weights.to(device)
            self._losses = self._losses.to(device)
            self._buffer.to(device)
            self.trajectory.to(device)

    def flagged(self) -> Tensor:
        """Return the samples that the last reweight pruned, the most suspicious first, in the order of `ranking`.

        Returns
        -------
        Tensor of int64, shape (n_pruned,)
            Indices; empty before the first reweight.
        """
        ranking = self.ranking()
        return ranking[self._layout.all_gather(self.trajectory.last)[ranking]]

    def ranking(self) -> Tensor:
        """Return all samples, the most suspicious first: by the share of reweights that pruned them, then loss rank.

        Returns
        -------
        Tensor of int64, shape (n,)
            Indices. The loss rank is the mean over the reweights, see `rrm_torch.PruningHistory.mean_rank`.
        """
        return self.trajectory.ranking()

    def state_dict(self) -> dict[str, Any]:
        """Return the state at the end of an epoch: tensors, numbers and strings, fit for ``torch.save``.

        `rrm_torch.weighting.state` lists the entries. With a layout it is the state of all samples, the same on all
        ranks, which call this together.
        """
        values = {
            "version": states.VERSION,
            "class": type(self).__name__,
            "settings": self.settings.describe(),
            "epoch": self.epoch,
            "weights": self._weights,
            "losses": self._losses,
            "trajectory": self.trajectory.state_dict(),
        }
        if self._buffer.OUTLIVES_EPOCH:
            buffer = self._buffer.copy()
            self._layout.merge_recorded(buffer)
            values |= {"recorded": buffer.losses, "is_recorded": (buffer.marks > 0).byte()}
        return states.export(values, self._state_entries(), self._layout)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`.

        Parameters
        ----------
        state : dict
            From an object of this class with the same number of samples and the same settings.

        Raises
        ------
        ValueError
            The settings differ, the data set does, or an entry is missing or damaged; the message says which. The
            state is as before the call.
        """
        table = self._state_entries()
        states.check_entries(state, table, "state", f"{type(self).__name__}.state_dict()")
        states.check_origin(state, type(self).__name__, self.settings)
        states.check_shapes(state, table, self.n)
        states.check_values(state)
        device = self._weights.device
        trajectory = PruningHistory(self.n, self._layout)
        trajectory.load_state_dict(state["trajectory"])
        trajectory.to(device)
        plan = self._plan_again(state["losses"].detach().to(device).float(), trajectory)
        tensors = states.local(state, table, self._layout, device)
        buffer = self._new_buffer()
        buffer.to(device)
        if buffer.OUTLIVES_EPOCH:
            buffer.load(tensors["recorded"], tensors["is_recorded"])
        # Everything that can fail is done: from here on the state changes.
        self.epoch = state["epoch"]
        self.trajectory = trajectory
        self._weights = tensors["weights"]
        self._losses = tensors["losses"]
        self._buffer = buffer
        self._plan = plan

    def __repr__(self) -> str:
        # Without what is None, and without the defaults of unit and scale.
        omitted = (None, "epoch", "mean")
        settings = [f"{name}={value!r}" for name, value in self.settings.describe().items() if value not in omitted]
        progress = f"{self.unit}={self.epoch}"
        if self.trajectory.rounds:
            progress += f", pruned={self.trajectory.rounds[-1].n_pruned}"
        return f"{type(self).__name__}({', '.join(settings)}; {progress})"

    @abstractmethod
    def weighted_mean(self, losses: Tensor, index: Tensor, *, regularizer: Tensor | None = None) -> Tensor:
        """Return the mean of a batch's losses times their weights, and record the losses."""

    @abstractmethod
    def step(self, losses: Tensor | None = None) -> rrm_core.Plan | None:
        """End an epoch, or a step where these are counted."""

    @abstractmethod
    def _new_buffer(self) -> LossBuffer:
        """Return an empty buffer for the recorded losses."""

    @abstractmethod
    def _plan_again(self, losses: Tensor, trajectory: PruningHistory) -> rrm_core.Plan | None:
        """Return the plan of the last reweight, made again from its losses when a state is loaded."""

    def _record(self, losses: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Record a batch; return its losses without gradient, as float32, and the samples' positions in `weights`."""
        self.to(losses.device)
        detached = losses.detach().float()
        return detached, self._buffer.record(detached, index, self.epoch + 1)

    def _mean(self, losses: Tensor, weights: Tensor, regularizer: Tensor | None) -> Tensor:
        """Return the mean of weights times losses, plus that of a regularizer."""
        weighted = torch.where(weights == 0, 0, weights * losses)
        if regularizer is not None:
            weighted = weighted + regularizer
        if self.settings.scale == "mean":
            return weighted.mean()
        # Gradients are averaged over ranks; the factor `size` makes theirs that of the sum over all ranks.
        return weighted.sum() / (self.n / self._layout.size)

    def _warn_of_weight(self, entry: Reweight, reason: str) -> None:
        """Warn, once, if the largest weight of a reweight exceeds the limit."""
        limit = self.settings.weight_limit
        if entry.largest_weight > limit and not self._warned_of_weight:
            self._warned_of_weight = True
            # The caller of `step`, which calls the method that calls this.
            warnings.warn(
                f"a sample's weight is {entry.largest_weight:,.0f}, above weight_limit={limit:g}: {reason}; "
                "redistribute='kept', or a fraction such as 0.1, spreads it",
                stacklevel=4,
            )

    def _state_entries(self) -> list[states.Entry]:
        """Return the part of the table of `state` that applies."""
        if self._buffer.OUTLIVES_EPOCH:
            return states.entries("rrm", "buffer")
        return states.entries("rrm")
