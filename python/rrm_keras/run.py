"""Run: what the end of each epoch of a run does to weights and losses. NumPy only; Keras is in `callback`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

import rrm_core
from rrm_core._held_out import random_share
from rrm_core._learnt_estimate import doubt_about

from .settings import AUTO, LONGEST_PART, Auto, Floats, Integers, Mask, Settings
from .warmup import Predictions, Warmup


class Scores(NamedTuple):
    """What a pass over all samples found."""

    losses: Floats
    """float32, shape (n,)."""
    labels: Integers | None
    """Given classes: int64, shape (n,); None without predictions."""
    predictions: Predictions | None
    """None unless they are needed."""


@dataclass(frozen=True, eq=False)
class RunState:
    """A run between two epochs, an immutable value: the end of an epoch makes a new one.

    Attributes
    ----------
    epoch : int
        Epochs that have ended.
    weights, losses : float32 array of shape (n,)
        The losses behind the last reweight, NaN before.
    is_pruned : bool array of shape (n,)
        By the last reweight.
    n_planned, n_pruned : int32 array of shape (n,)
        Reweights that a sample took part in, and that pruned it.
    excess_sum : float64 array of shape (n,)
        Sum of a sample's loss less its threshold over the reweights.
    n_reweights : int
    warmup_end : int or None
        The last epoch of the warm-up, once it has ended.
    warmup : Warmup or None
        One that holds out samples, until it has ended.
    estimate : ContaminationEstimate or None
    plan : Plan, GroupedPlan or None
        Of the last reweight.
    """

    epoch: int
    weights: Floats
    losses: Floats
    is_pruned: Mask
    n_planned: Integers
    n_pruned: Integers
    excess_sum: Floats
    n_reweights: int = 0
    warmup_end: int | None = None
    warmup: Warmup | None = None
    estimate: rrm_core.ContaminationEstimate | None = None
    plan: rrm_core.Plan | rrm_core.GroupedPlan | None = None


class Run:
    """A run with settings, of a planned number of epochs.

    Parameters
    ----------
    settings : Settings
    epochs : int
        Planned epochs.
    n_batches : int
        Batches in an epoch.
    """

    def __init__(self, settings: Settings, epochs: int, n_batches: int) -> None:
        self.settings = settings
        self.epochs = epochs
        self.n_batches = n_batches
        self.warmup: int | Auto = settings.warmup_of(epochs)

    @property
    def earliest_reweight(self) -> int:
        """The first epoch that a reweight may follow."""
        return 1 if self.warmup == AUTO else self.warmup

    def warn_of_end(self) -> None:
        """Warn if the run ends before the first reweight, or with it."""
        first = self.earliest_reweight
        if self.epochs > first:
            return
        consequence = "no sample is ever pruned"
        if self.epochs == first:
            consequence = "no epoch is trained with the new weights"
        warnings.warn(
            f"the run ends after epoch {self.epochs}, and the first reweight follows epoch {first} at the earliest: "
            f"{consequence}; train longer, or give a smaller warmup",
            UserWarning,
            stacklevel=2,
        )

    def needs_scores(self, state: RunState) -> bool:
        """Return whether the end of the next epoch needs losses."""
        return state.warmup is not None or self._is_due(state, state.epoch + 1)

    def end_epoch(self, state: RunState, scores: Scores | None) -> RunState:
        """Return the state after one more epoch.

        Parameters
        ----------
        state : RunState
        scores : Scores or None
            Given if `needs_scores` says so.

        Raises
        ------
        ValueError
            A loss is NaN, or no estimate can be made.

        Warns
        -----
        UserWarning
            The estimate can hardly be right.
        """
        epoch = state.epoch + 1
        if scores is None:
            return replace(state, epoch=epoch)
        if state.warmup is not None:
            state = self._end_warmup_epoch(state, scores, epoch)
        if self._is_due(state, epoch):
            state = self._reweighted(state, scores, epoch)
        return replace(state, epoch=epoch)

    def members(self, n_reweights: int) -> Mask | None:
        """Return the samples that reweight number `n_reweights`, from 1, plans over; None for all.

        The first one after a warm-up that held out samples plans over the others: the losses of those held out are
        higher, as the model has not seen them.
        """
        if n_reweights == 1 and self.settings.needs_predictions:
            return ~held_out(self.settings)
        return None

    def plan_again(self, state: RunState) -> rrm_core.Plan | rrm_core.GroupedPlan | None:
        """Return the plan of the last reweight, made again from its losses."""
        if not state.n_reweights:
            return None
        return self._reweight(state, state.losses, np.ones_like(state.weights), self.members(state.n_reweights))[1]

    def _is_due(self, state: RunState, epoch: int) -> bool:
        end = state.warmup_end
        if end is None and not self.settings.needs_predictions:
            assert self.warmup != AUTO
            end = self.warmup
        return end is not None and epoch >= end and (epoch - end) % self.settings.every == 0

    def _end_warmup_epoch(self, state: RunState, scores: Scores, epoch: int) -> RunState:
        """Return the state after an epoch of a warm-up; at its end with the estimate."""
        assert state.warmup is not None
        assert scores.labels is not None
        assert scores.predictions is not None
        warmup = state.warmup.extended(scores.labels, scores.predictions, self.n_batches)
        is_over = epoch == self.warmup
        if self.warmup == AUTO:
            is_over = warmup.agreement.is_over or epoch >= max(self.epochs // LONGEST_PART, 1)
        if not is_over:
            return replace(state, warmup=warmup)
        estimate = warmup.estimate(scores.labels, epoch)
        doubt = doubt_about(
            estimate,
            warmup.agreement.best,
            has_learnt=warmup.agreement.has_learnt,
            is_used=self.settings.is_estimated,
            end=f"when the warm-up ended, after epoch {epoch}",
            hint="outputs are what the loss expects, logits or probabilities, and labels are the classes from 0",
        )
        if doubt is not None:
            warnings.warn(doubt, UserWarning, stacklevel=2)
        return replace(state, warmup=None, warmup_end=epoch, estimate=estimate)

    def _reweighted(self, state: RunState, scores: Scores, epoch: int) -> RunState:
        """Return the state after a reweight by these losses."""
        losses = scores.losses
        n_nan = int(np.isnan(losses).sum())
        if n_nan:
            raise ValueError(
                f"after epoch {epoch} the losses of {n_nan:,} of {len(losses):,} samples are NaN; see whether the "
                "model diverged, such as by too high a learning rate, or inputs have NaN"
            )
        members = self.members(state.n_reweights + 1)
        old = state.weights
        if not state.n_reweights:
            # A warm-up changes weights, but doesn't rate samples.
            old = np.ones_like(old)
        weights, plan, thresholds = self._reweight(state, losses, old, members)
        is_member = np.ones(len(losses), bool) if members is None else members
        is_pruned = is_member & (losses > thresholds)
        return replace(
            state,
            weights=weights,
            losses=losses,
            is_pruned=is_pruned,
            n_planned=state.n_planned + is_member.astype(np.int32),
            n_pruned=state.n_pruned + is_pruned.astype(np.int32),
            excess_sum=state.excess_sum + np.where(is_member, _excess(losses, thresholds), 0.0),
            n_reweights=state.n_reweights + 1,
            plan=plan,
        )

    def _reweight(
        self, state: RunState, losses: Floats, old: Floats, members: Mask | None
    ) -> tuple[Floats, rrm_core.Plan | rrm_core.GroupedPlan, Floats]:
        """Return the new weights, 1 for samples that are no members, the plan, and the threshold of each sample."""
        settings = self.settings
        share = None
        if settings.is_estimated:
            assert state.estimate is not None
            share = state.estimate.contamination
        arguments = settings.arguments(share)
        rows = slice(None) if members is None else members
        weights = np.ones_like(old)
        if settings.groups is None:
            weights[rows], plan = rrm_core.reweight(losses[rows], old[rows], **arguments)
            return weights, plan, np.full(len(losses), plan.threshold)
        numbers = settings.groups.numbers
        groups = rrm_core.Groups(numbers[rows], settings.groups.n_groups)
        weights[rows], grouped = rrm_core.reweight(losses[rows], old[rows], groups=groups, **arguments)
        return weights, grouped, np.asarray(grouped.threshold)[numbers]


def begin(settings: Settings) -> RunState:
    """Return the state before the first epoch; where a warm-up holds out samples, their weight is 0."""
    n = settings.n
    weights = np.ones(n, np.float32)
    warmup = None
    if settings.needs_predictions:
        mask = held_out(settings)
        if settings.rule.redistribute != "drop":
            weights[:] = n / (n - int(mask.sum()))
        weights[mask] = 0
        warmup = Warmup(mask)
    return RunState(
        epoch=0,
        weights=weights,
        losses=np.full(n, np.nan, np.float32),
        is_pruned=np.zeros(n, bool),
        n_planned=np.zeros(n, np.int32),
        n_pruned=np.zeros(n, np.int32),
        excess_sum=np.zeros(n),
        warmup=warmup,
    )


def held_out(settings: Settings) -> Mask:
    """Return the samples that a warm-up holds out: bool, shape (n,)."""
    return random_share(0, settings.n, settings.seed)


def _excess(losses: Floats, thresholds: Floats) -> Floats:
    """Return losses less thresholds: 0 for an infinite loss at an infinite threshold."""
    excess = np.zeros(len(losses))
    np.subtract(losses, thresholds, out=excess, where=losses != thresholds)
    return excess
