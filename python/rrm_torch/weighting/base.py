"""BaseRRM: what `RRM` and `BatchRRM` share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor

import rrm_core
from rrm_review import make_issues

from .._models import to_device, to_numpy
from . import compiled_graph
from . import state as states
from .batch_checks import check_batch, check_batch_options, check_index
from .batch_recorder import DeviceRecorder
from .layout import Layout, LayoutName
from .live_state import LiveState
from .loss_buffer import EpochLossBuffer, LossBuffer
from .prediction_buffer import PredictionBuffer
from .prediction_state import read_estimate, save_estimate, save_predictions
from .pruning_history import PruningHistory, exact_shares_and_excess, load_history
from .reweight import Reweight
from .settings import BatchSettings, Unit
from .state_checks import check_state
from .weighted_average import WeightedTerms, average_of_finite, average_of_terms, weighted_average


class BaseRRM(ABC):
    """The weights and losses of all samples, the losses recorded for the next reweight, and the history of pruning.

    Attributes
    ----------
    settings : BatchSettings
        The arguments, validated; constant.
    layout : {"replicated", "sharded"} or None
    """

    settings: BatchSettings

    @torch.inference_mode(False)
    def __init__(self, settings: BatchSettings, layout: Layout, layout_name: LayoutName | None = None) -> None:
        self.settings = settings
        self.layout = layout_name
        self._layout = layout
        self._state = LiveState(
            epoch=0,
            weights=torch.ones(layout.n_local, dtype=torch.float32, device="cpu"),
            losses=torch.full((layout.n_local,), torch.nan, dtype=torch.float32, device="cpu"),
            trajectory=PruningHistory(layout.n, layout),
            buffer=self._new_buffer(),
        )
        self._warned_of_weight = False
        self._warned_of_no_reweight = False
        self._warned_of_no_step = False
        # For graphs that `torch.compile` makes, see `compiled_graph`.
        self._call_order = torch.zeros(0, device="cpu")
        self._number = compiled_graph.register(self)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_number"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        # A copy is another object for a graph.
        self._number = compiled_graph.register(self)

    @property
    def n(self) -> int:
        """Number of training samples."""
        return self.settings.n

    @property
    def unit(self) -> Unit:
        """What `epoch` counts, and when to call `step`: after each epoch, or after each step of the optimizer."""
        return "epoch"

    @property
    def epoch(self) -> int:
        """Epochs that have ended; steps where these are counted."""
        return self._state.epoch

    @property
    def weights(self) -> Tensor:
        """Current sample weights: shape (n_local,), all 1 before the first reweight.

        A warm-up that holds out samples gives these 0, and all others one common weight. float32, or float64 once a
        loss of float64 has come. The state itself, not a copy; of the samples that this process stores, all n without a
        sharded layout. Their mean is 1; with ``redistribute="drop"`` it falls below.
        """
        return self._state.weights

    @property
    def losses(self) -> Tensor:
        """The losses at the last reweight: as `weights`; NaN before the first, or for a sample that took no part.

        They decided which samples were pruned, unless ranking numbers were passed to `weighted_mean`.
        """
        return self._state.losses

    @property
    def trajectory(self) -> PruningHistory:
        """What each reweight pruned. The next reweight makes a new one."""
        return self._state.trajectory

    @property
    def plan(self) -> rrm_core.Plan | rrm_core.GroupedPlan | None:
        """Threshold and counts of the last reweight; None before the first, and with `BatchRRM`.

        With groups a `rrm_core.GroupedPlan`, which has those of each.
        """
        return self._state.plan

    @property
    def groups(self) -> rrm_core.Groups | None:
        """The group of each of the n samples; None without groups."""
        return None

    @property
    def due(self) -> bool:
        """Whether the next `step` reweights; never with `BatchRRM`."""
        return False

    def weighted_mean(
        self,
        losses: Tensor,
        index: Tensor,
        *,
        regularizer: Tensor | None = None,
        ranking: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        record: bool = True,
    ) -> Tensor:
        """Return the mean of a batch's losses times their weights, and record the losses for the next `step`.

        Parameters
        ----------
        losses : Tensor, shape (batch,)
            One loss per sample, with ``reduction="none"``.
        index : Tensor of int64, shape (batch,)
            The samples' indices in the training set.
        regularizer : Tensor, shape (batch,), optional
            A term per sample that does not depend on its label; neither weighted nor recorded.
        ranking : Tensor, shape (batch,), optional
            Numbers that decide in place of the losses which samples are pruned: the higher, the less the sample is
            trusted. In Co-teaching, the losses of the other network. The plan and `trajectory` are those of these
            numbers, of the samples that have one, and of the losses of the others; `losses` are still the losses.
        logits : Tensor, shape (batch, n_classes), optional
            The model's outputs, from which a warm-up with ``contamination="auto"`` or ``warmup="auto"`` makes an
            estimate, and `rank_by` computes scores; otherwise they are not used. For two classes one number per sample
            may be given, the logit of class 1, shape (batch,) or (batch, 1).
        labels : Tensor of integers, shape (batch,), optional
            The given classes, likewise; a negative one stands for a sample without a label.
        record : bool, default True
            Whether the losses are recorded. With False this call only weights them: for a second one in the same step,
            as for two views of a sample, several heads, or sharpness-aware minimization. `BatchRRM` then uses the
            weights of the last call that recorded losses of these samples.

        Returns
        -------
        Tensor, shape ()
            ``(weights[index] * losses + regularizer).mean()``, to call ``backward()`` on; with ``scale="paper"`` the
            sum over n. A loss of weight 0 counts as 0 even if it is infinite or NaN; but if the model's outputs are
            infinite or NaN, the gradients are too. Another sample whose loss is NaN has none, and is left out; the mean
            of no sample is 0. Nothing here waits for a GPU; with `BatchRRM` this needs the CUDA kernels of rrm_core.

        Raises
        ------
        TypeError
            `index` isn't a tensor of integers, or `losses` not one of floating-point numbers.
        ValueError
            `losses` isn't one-dimensional, or another argument has another length; `ranking` isn't to be recorded;
            `logits` or `labels` are needed and missing, or aren't classes; or, with `BatchRRM`, a loss is NaN, and
            `nan` is ``"raise"``. Nothing has been recorded.
        IndexError
            An index is outside [0, n). If it is on a GPU, the next `step` raises this.
        """
        divisor = None
        if self.settings.scale == "paper":
            # Gradients are averaged over ranks; the factor `size` makes theirs that of the sum over all ranks.
            divisor = self.n / self._layout.size
        if torch.compiler.is_compiling():
            weights = self._weigh_in_graph(losses, index, regularizer, ranking, record, logits, labels)
            mean: Tensor = compiled_graph.average(losses, weights, regularizer, divisor)[0]
            return mean
        check_batch(losses, index)
        check_batch_options(losses, regularizer, ranking, is_recorded=record)
        if record and self._needs_outputs:
            ranking = self._use_outputs(losses, index, ranking, logits, labels)
        if record and ranking is None:
            terms = self._record_on_device(losses, index)
            if terms is not None:
                return average_of_terms(losses, terms, regularizer, divisor)
        weights, are_finite = self._weigh_checked(losses, index, ranking, record)
        if are_finite and divisor is None:
            return average_of_finite(losses, weights, regularizer)
        return weighted_average(losses, weights, regularizer, divisor).mean

    def weights_for(self, index: Tensor) -> Tensor:
        """Return the current weights of some samples.

        Parameters
        ----------
        index : Tensor of int64 or int32, shape (batch,)
            The samples' indices in the training set; with a sharded layout, in this rank's slice.

        Returns
        -------
        Tensor, shape (batch,)
            Of the dtype and on the device of `weights`.

        Raises
        ------
        TypeError
            `index` isn't a tensor of integers.
        IndexError
            An index on the host is out of range.
        """
        check_index(index)
        start, end = self._layout.start, self._layout.end
        if index.device.type == "cpu":
            outside = index[(index < start) | (index >= end)]
            if len(outside):
                raise IndexError(f"index must lie in [{start}, {end}), the local samples, got {int(outside[0])}")
        return self.weights[to_device(index, self.weights.device) - start]

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
        if torch.compiler.is_compiling():
            self._weigh_in_graph(losses, index, None, None, record=True)
            return
        check_batch(losses, index)
        if self._record_and_weigh(losses, index) is None and self._record_on_device(losses, index) is None:
            self._record(losses, index)

    @torch.inference_mode(False)
    def reset_losses(self) -> None:
        """Forget which losses were recorded, so that `step` uses only those recorded from now on."""
        self._state = replace(self._state, buffer=self._buffer.cleared())

    @torch.inference_mode(False)
    def discard_epoch(self) -> None:
        """Forget the losses recorded in the epoch under way, where a loss counts for one epoch only.

        For a loop that begins an interrupted epoch again; `rrm_torch.fit` calls this.
        """
        if isinstance(self._buffer, EpochLossBuffer) and self._buffer.has_losses:
            self.reset_losses()
        predictions = self._state.predictions
        if predictions is not None and predictions.n_recorded and self.unit == "epoch":
            self._state = replace(self._state, predictions=predictions.without_newest())

    def to(self, device: torch.device) -> None:
        """Move the state to `device`; a no-op if it is there already. `weighted_mean` and `step` call this."""
        if self.weights.device != device:
            self._state = self._state.to(device)

    def flagged(self) -> Tensor:
        """Return the samples that the last reweight pruned, the most suspicious first, in the order of `ranking`.

        Returns
        -------
        Tensor of int64, shape (n_pruned,)
            Indices; empty before the first reweight.

        Warns
        -----
        UserWarning
            Losses were recorded, and there was no reweight.
        """
        self._warn_of_no_reweight(stacklevel=2)
        return self.trajectory.flagged()

    def ranking(self) -> Tensor:
        """Return all samples, the most suspicious first: by the mean of loss less threshold over the reweights.

        Returns
        -------
        Tensor of int64, shape (n,)
            Indices. See `rrm_torch.PruningHistory.mean_excess`.

        Warns
        -----
        UserWarning
            As `flagged`.
        """
        self._warn_of_no_reweight(stacklevel=2)
        return self.trajectory.ranking()

    def issues(
        self,
        *,
        labels: npt.ArrayLike | Tensor | None = None,
        predictions: npt.ArrayLike | Tensor | None = None,
        ids: npt.ArrayLike | Tensor | None = None,
        order: Literal["suspicion", "index"] = "suspicion",
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the table of label issues: a dict of columns under cleanlab's names, one row per sample.

        Parameters
        ----------
        labels : array or Tensor of integers, or sequence of str; shape (n,), optional
            The given labels of all n samples, also where ranks store slices.
        predictions : array or Tensor, shape (n,) or (n, n_classes), optional
            The predicted labels; or what `rrm_torch.predict` returns, of which the most probable class is taken.
        ids : array or Tensor of integers, or sequence of str; shape (n,), optional
            What identifies the samples, such as file names.
        order : {"suspicion", "index"}, default "suspicion"
            The order of the rows: that of `ranking`; or that of the samples, for
            ``cleanlab.classification.CleanLearning.fit(label_issues=...)``.

        Returns
        -------
        dict of str to array, shape (n,)
            See `rrm_review.make_issues`; with the column ``group`` if there are groups. ``is_label_issue`` marks the
            samples in `flagged`. Before the first reweight it marks none, and every ``label_quality`` is 1.
            `rrm_review.to_frame` makes a pandas DataFrame of it, and `rrm_review.to_csv` a file.

        Raises
        ------
        TypeError, ValueError
            As `rrm_review.make_issues`.

        Warns
        -----
        UserWarning
            As `flagged`.
        """
        self._warn_of_no_reweight(stacklevel=2)
        rows = self._layout.sync_or_raise(None, self._is_double)
        state = self._state.double() if any(row[0] for row in rows) else self._state
        share_pruned, mean_excess = exact_shares_and_excess(state.trajectory)
        is_label_issue, weights, losses = (
            self._layout.all_gather(values) for values in (state.trajectory.last, state.weights, state.losses)
        )
        given = {"labels": labels, "predictions": predictions, "ids": ids}
        groups = None if self.groups is None else self.groups.numbers
        # After the collectives, so that an error of one rank leaves no other waiting.
        return make_issues(
            is_label_issue=to_numpy(is_label_issue),
            share_pruned=to_numpy(share_pruned),
            mean_excess=to_numpy(mean_excess),
            sample_weight=to_numpy(weights),
            loss=to_numpy(losses),
            groups=groups,
            order=order,
            **{name: to_numpy(values) if isinstance(values, Tensor) else values for name, values in given.items()},
        )

    @torch.inference_mode(False)
    def state_dict(self) -> dict[str, Any]:
        """Return the state, complete at any moment: tensors, numbers and strings, fit for ``torch.save``.

        `rrm_torch.weighting.state` lists the entries. It includes the losses recorded in the epoch under way, so that a
        run resumed from it ends with the bits of one that was not interrupted. With a layout it is the state of all
        samples, the same on all ranks, which call this together. One thing is lost with ``layout="replicated"``, where
        the highest of the ranks' losses counts: which rank recorded a loss. If that rank records another one of the
        same sample in the same epoch, the resumed run uses the higher of the two, not the later one.
        """
        is_ranked = self._buffer.ranking is not None
        rows = self._layout.sync_or_raise(None, self._is_double, self._buffer.has_losses, is_ranked)
        state = self._state
        if any(row[0] for row in rows):
            state = state.double()
        recorded = None
        recorded_ranking = None
        marks = None
        if any(row[1] for row in rows):
            buffer = state.buffer.ranked() if any(row[2] for row in rows) else state.buffer
            buffer = self._layout.merge_recorded(buffer)
            is_recorded = buffer.marks > 0
            recorded = torch.where(is_recorded, buffer.losses, torch.nan)
            if buffer.ranking is not None:
                recorded_ranking = torch.where(is_recorded, buffer.ranking, torch.nan)
            marks = buffer.saved_marks(state.epoch + 1, state.last_reweight)
        values = {
            "version": states.VERSION,
            "class": type(self).__name__,
            "settings": self.settings.describe(),
            "epoch": state.epoch,
            "epochs": state.epochs,
            "weights": state.weights,
            "losses": state.losses,
            "ranking": state.ranking,
            "recorded": recorded,
            "recorded_ranking": recorded_ranking,
            "marks": marks,
            "trajectory": state.trajectory.state_dict(),
            "predictions": save_predictions(state.predictions, self._layout),
            "estimate": save_estimate(state.estimate),
        }
        return states.export(values, states.entries("rrm", "buffer"), self._layout)

    @torch.inference_mode(False)
    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`.

        Parameters
        ----------
        state : dict
            From an object of this class with the same number of samples and the same settings.

        Raises
        ------
        ValueError
            The settings or the data sets differ, or an entry is missing or can't be right; the message says which.

        Notes
        -----
        An error leaves the state as it was; after an interrupt it is the state before the call or the one after it.
        """
        rounds = check_state(state, type(self).__name__, self.settings)
        self._check_consistency(state, rounds)
        device = self.weights.device
        trajectory = load_history(state["trajectory"], rounds, self._layout).to(device)
        tensors = states.local(state, states.entries("rrm", "buffer"), self._layout, device)
        buffer = self._new_buffer().to(device)
        if tensors["weights"].dtype == torch.float64:
            buffer = buffer.double()
        if "recorded" in tensors:
            last_reweight = rounds[-1].epoch if rounds else 0
            marks = buffer.loaded_marks(tensors["marks"], state["epoch"] + 1, last_reweight)
            buffer = buffer.replaced(tensors["recorded"], tensors.get("recorded_ranking"), marks)
        plan = self._plan_again(state, rounds)
        self._state = LiveState(
            epoch=state["epoch"],
            weights=tensors["weights"],
            losses=tensors["losses"],
            trajectory=trajectory,
            buffer=buffer,
            plan=plan,
            ranking=tensors.get("ranking"),
            predictions=self._load_predictions(state["predictions"]),
            estimate=read_estimate(state["estimate"]),
            epochs=self._planned_epochs(state["epochs"]),
        )

    def __repr__(self) -> str:
        defaults = {"unit": "epoch", "unseen": "raise", "scale": "mean", "mass": "all", "rank_by": "loss", "seed": 0}
        settings = [
            f"{name}={value!r}"
            for name, value in self.settings.describe().items()
            if value is not None and value != defaults.get(name)
        ]
        progress = f"{self.unit}={self.epoch}"
        rounds = self.trajectory.rounds
        if rounds:
            progress += f", pruned={rounds[-1].n_pruned}"
        return f"{type(self).__name__}({', '.join(settings)}; {progress})"

    @abstractmethod
    def step(self, losses: Tensor | None = None) -> rrm_core.Plan | rrm_core.GroupedPlan | None:
        """End an epoch, or a step where these are counted."""

    @abstractmethod
    def _batch_weights(self, losses: Tensor, index: Tensor, ranking: Tensor | None, record: bool) -> Tensor:
        """Return the weights of a batch, shape (batch,), and record its losses if `record` is true."""

    @property
    @abstractmethod
    def _needs_outputs(self) -> bool:
        """Whether calls of `weighted_mean` that record losses need logits and labels."""

    @abstractmethod
    def _use_outputs(
        self, losses: Tensor, index: Tensor, ranking: Tensor | None, logits: Tensor | None, labels: Tensor | None
    ) -> Tensor | None:
        """Record the predictions of a batch where they are needed; return the numbers that rank it, see `_record`."""

    @abstractmethod
    def _load_predictions(self, state: dict[str, Any] | None) -> PredictionBuffer | None:
        """Return the predictions of the local samples, from those of a state."""

    @abstractmethod
    def _new_buffer(self) -> LossBuffer:
        """Return an empty buffer for the recorded losses."""

    @abstractmethod
    def _check_consistency(self, state: dict[str, Any], rounds: list[Reweight]) -> None:
        """Raise a ValueError if the entries of a state contradict each other."""

    @abstractmethod
    def _plan_again(self, state: dict[str, Any], rounds: list[Reweight]) -> rrm_core.Plan | rrm_core.GroupedPlan | None:
        """Return the plan of the last reweight, made again from its losses when a state is loaded."""

    def _planned_epochs(self, saved: int | None) -> int | None:
        """Return the planned number of epochs after a state with another one is loaded."""
        return saved

    @property
    def _buffer(self) -> LossBuffer:
        return self._state.buffer

    @property
    def _is_double(self) -> bool:
        return self.weights.dtype == torch.float64

    def _record(self, losses: Tensor, index: Tensor, ranking: Tensor | None = None) -> Tensor:
        """Record a batch, and the numbers that rank in place of its losses; return the positions in `weights`."""
        self._adapt(losses, ranking)
        dtype = self.weights.dtype
        numbers = None if ranking is None else ranking.detach().to(dtype)
        return self._buffer.record(losses.detach().to(dtype), index, self.epoch + 1, numbers)

    def _adapt(self, losses: Tensor, ranking: Tensor | None = None) -> None:
        """Move the state to the device of a batch, and to float64 if the batch has such numbers."""
        self.to(losses.device)
        if not self._is_double and torch.float64 in (losses.dtype, losses.dtype if ranking is None else ranking.dtype):
            self._state = self._state.double()

    def _weigh(
        self,
        losses: Tensor,
        index: Tensor,
        regularizer: Tensor | None,
        ranking: Tensor | None,
        record: bool,
        logits: Tensor | None,
        labels: Tensor | None,
    ) -> Tensor:
        """Check a batch, and record it if `record` is true; return its weights."""
        check_batch(losses, index)
        check_batch_options(losses, regularizer, ranking, is_recorded=record)
        if record and self._needs_outputs:
            ranking = self._use_outputs(losses, index, ranking, logits, labels)
        return self._weigh_checked(losses, index, ranking, record)[0]

    def _weigh_checked(
        self, losses: Tensor, index: Tensor, ranking: Tensor | None, record: bool
    ) -> tuple[Tensor, bool]:
        """Record a batch if `record` is true; return its weights, and whether all losses are finite.

        False also stands for not known.
        """
        if record and ranking is None:
            recorded = self._record_and_weigh(losses, index)
            if recorded is not None:
                return recorded
        return self._batch_weights(losses, index, ranking, record), False

    def _weigh_in_graph(
        self,
        losses: Tensor,
        index: Tensor,
        regularizer: Tensor | None,
        ranking: Tensor | None,
        record: bool,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> Tensor:
        """Return the weights that `_weigh` does, by an operator of a graph that `torch.compile` makes."""
        numbers = losses if ranking is None else ranking
        is_double = torch.float64 in (self.weights.dtype, losses.dtype, numbers.dtype)
        weights: Tensor = compiled_graph.batch_weights(
            losses.detach(),
            is_double,
            index,
            None if regularizer is None else regularizer.detach(),
            None if ranking is None else ranking.detach(),
            None if logits is None else logits.detach(),
            labels,
            self._number,
            record,
            self._call_order,
        )
        return weights

    def _record_and_weigh(self, losses: Tensor, index: Tensor) -> tuple[Tensor, bool] | None:
        """Record a batch and return its weights, as `LossBuffer.record_and_weigh` does; None where it can't."""
        state = self._state
        recorded = state.buffer.record_and_weigh(losses, index, state.epoch + 1, state.weights)
        if recorded is None:
            # Only the first batch of another device or dtype is recorded at the second attempt.
            self._adapt(losses)
            if self._state is not state:
                return self._record_and_weigh(losses, index)
        return recorded

    def _record_on_device(self, losses: Tensor, index: Tensor) -> WeightedTerms | None:
        """Record a batch and return the terms of its mean, as `LossBuffer.record_on_device` does, or None."""
        if not DeviceRecorder.serves(losses):
            return None
        self._adapt(losses)
        state = self._state
        return state.buffer.record_on_device(losses, index, state.epoch + 1, state.weights)

    def _locate(self, losses: Tensor, index: Tensor) -> Tensor:
        """Return the positions of a batch's samples in `weights`, on the device of its losses; record nothing."""
        self.to(losses.device)
        return self._buffer.locate(index, losses.device)

    def _warn_of_no_reweight(self, stacklevel: int) -> None:
        """Warn, once, if samples are asked for that no reweight has compared, though epochs have ended."""
        if not self.epoch:
            self._warn_of_no_step(stacklevel + 1)
        if not self.epoch or self.trajectory.rounds or self._warned_of_no_reweight:
            return
        self._warned_of_no_reweight = True
        warmup = self.settings.warmup
        until = "the warm-up has not ended"
        remedy = "train longer, or make it with epochs=, the planned number, so that it ends in time"
        if isinstance(warmup, int):
            until = f"the first one follows {self.unit} {warmup}"
            remedy = "make it with a smaller warmup, or warmup='auto'"
        warnings.warn(
            f"there was no reweight yet: {self.unit} {self.epoch} has ended, and {until}; {remedy}",
            stacklevel=stacklevel + 1,
        )

    def _warn_of_no_step(self, stacklevel: int) -> None:
        """Warn, once, in a single process, if losses were recorded and no step has followed."""
        if self._warned_of_no_step or self._layout.size > 1 or not self._buffer.has_losses:
            return
        self._warned_of_no_step = True
        warnings.warn(
            f"there was no reweight yet: if {self.unit} 1 has ended, step() was not called, which ends it",
            stacklevel=stacklevel + 1,
        )

    def _warn_of_weight(self, entry: Reweight, reason: str, stacklevel: int) -> None:
        """Warn, once, if the largest weight of a reweight exceeds the limit."""
        limit = self.settings.weight_limit
        if entry.largest_weight > limit and not self._warned_of_weight:
            self._warned_of_weight = True
            warnings.warn(
                f"a sample's weight is {entry.largest_weight:,.0f}, above weight_limit={limit:g}: {reason}; "
                "redistribute='kept', or a fraction such as 0.1, spreads it",
                stacklevel=stacklevel + 1,
            )
