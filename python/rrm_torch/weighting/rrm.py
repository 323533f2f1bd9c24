"""RRM: the weights and losses of all samples, and the step that derives the weights from the losses."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

import rrm_core

from .._checks import check_count
from ..distributed.process_group import stable_hash
from .base import BaseRRM
from .epoch_checks import check_losses, find_coverage_error, find_nan, raise_if_any_rank_failed
from .fingerprint import Ids
from .layout import LayoutName, make_layout
from .live_state import LiveState
from .loss_buffer import EpochLossBuffer, LatestLossBuffer, LossBuffer
from .outputs import check_outputs
from .plan_replay import replay_plan
from .population import Population, initial_weights
from .prediction_buffer import ROUNDS_PER_PASS, PredictionBuffer
from .prediction_rounds import WarmupSchedule
from .prediction_state import load_predictions, read_estimate
from .reweight import Reweight, total
from .sample_groups import GroupsLike, SampleGroups
from .sample_scores import RankBy, SampleScorer
from .schedule import Schedule, ShareSchedule
from .settings import AUTO, Auto, LossesFrom, Mass, Redistribute, Scale, Settings, Unit, Unseen
from .state_checks import check_consistency
from .step_arguments import StepArguments, read_arguments
from .step_losses import losses_of_step
from .warmup import begin_warmup, end_warmup_round, trained_on, warn_of_pruned_classes

DEFAULT_WARMUP = 10


class RRM(BaseRRM):
    """Rockafellian Relaxation for any per-sample loss: one added line in the training loop, one after each epoch.

    Used like a torch learning-rate scheduler: `step`, `state_dict`, `load_state_dict`.

    Parameters
    ----------
    n : int
        Number of training samples. A sample is known by its index in [0, n).
    contamination : "auto", float in [0, 1), array of shape (n_groups,), or a function of the epoch
        The share of wrong labels: this share of the samples, those with the highest losses, is pruned at each reweight.
        ``"auto"`` estimates it at the end of the warm-up, see Notes; with `groups` and without `cap`, that of each
        group, which are sources then: for classes, give a `cap`, since all labels of a class that is not learnt yet
        seem wrong. Give this or `gamma`; or neither, if each `step` that reweights is given a contamination.
        `rrm_torch.Ramp` is a function of the epoch. With `groups`, an array has a share of each group, of which it
        prunes those with the highest losses.
    gamma : float, at least 0, or a function of the epoch
        The price of leaving the uniform distribution, in units of the loss: samples more than `gamma` above the
        smallest loss are pruned.
    mu : float in (0, 1], or a function of the epoch, default 1
        Step from the current weights to the new ones.
    warmup : int or "auto", optional
        Epochs of plain training before the first reweight. Before the model has learnt anything, its losses say
        nothing about the labels; long after, it has learnt the wrong ones too. ``"auto"`` ends it in between, see
        Notes. The default is ``"auto"`` with ``contamination="auto"``, otherwise 10.
    every : int, default 1
        Epochs from one reweight to the next.
    unit : {"epoch", "step"}, default "epoch"
        What `warmup`, `every` and the functions count, and when to call `step`: after each epoch, with each sample's
        loss in that epoch; or after each of the optimizer's steps, with each sample's latest loss.
    redistribute : {"kept", "argmin", "drop"} or float in (0, 1], default "kept"
        Which samples receive the mass of the pruned ones, as in `rrm_core.reweight`. The paper's ``"argmin"`` may give
        all of it to a single sample early in training; ``"kept"`` never does.
    ties : {"keep", "share"}, default "keep"
        What happens at the threshold, as in `rrm_core.reweight`. Bounded losses, such as the mean absolute error, tie
        at their cap, where only ``"share"`` removes anything. Samples that gave up a share are not `flagged`.
    nan : {"raise", "prune"}, default "raise"
        Whether a loss that is NaN raises an error or prunes its sample.
    scale : {"mean", "paper"}, default "mean"
        What `weighted_mean` returns: the mean of weight times loss, for which usual learning rates are right; or, as in
        the authors' code, the sum of p = weight / n times loss, which is ``batch / n`` of the mean. With a layout this
        is multiplied by the number of ranks, over which gradients are averaged.
    weight_limit : float, default 100
        Warn once when a sample's weight exceeds this; inf never warns.
    ids : sequence of str or int, array or Tensor, optional
        What identifies the samples: file names, keys, labels. A hash of them is saved in the state, and a state of
        another data set is refused.
    losses_from : {"training", "pass"}, default "training"
        Where the losses of a reweight come from: `weighted_mean` records them in training; or a pass of its own
        computes them, and passes them to `step` or, after `reset_losses`, to `record`. With ``"pass"``, training may
        visit any samples, and no warning says that the losses recorded there are incomplete.
    unseen : {"raise", "latest"}, default "raise"
        What happens to a sample that was not seen in the epoch of a reweight, as with ``drop_last=True``. ``"raise"``
        is an error: it would otherwise go unnoticed that losses are missing because of a mistake in the loop.
        ``"latest"`` uses its last loss; a sample that was never seen keeps weight 1, and takes no part in the plan; and
        a loss that is NaN, such as that of a text without a label, counts as unseen unless ``nan="prune"``.
    groups : array or Tensor of integers, shape (n,), or rrm_core.Groups, optional
        The group of each sample, from 0: its class, source, annotator or rule. A `rrm_core.Groups` may have groups
        without a sample. With a layout all ranks pass those of all samples.
    cap : float in [0, 1), or array of shape (n_groups,), optional
        The largest share of a group that one `contamination` may prune, as in `rrm_core.reweight`: of a class that is
        hard to learn, some samples are kept.
    mass : {"all", "group"}, default "all"
        Which samples receive the mass of the pruned samples of a group: those of all groups; or those of the group
        itself, whose total weight then stays as it is.
    rank_by : {"loss", "noise-aware", "prior-adjusted"}, default "loss"
        What decides which samples are pruned. Scores need `groups`, the given classes, and have a `cap` of 0.5 by
        default; `weighted_mean` needs the logits and labels throughout. ``"noise-aware"``: how improbable the given
        class is, if classes are confused as in the estimate at the end of the warm-up; for systematic errors between
        classes. ``"prior-adjusted"``: the cross-entropy as if all classes were equally frequent among the kept labels;
        for rare classes that matter as much as others.
    seed : int, default 0
        Which samples a warm-up holds out, see Notes.
    epochs : int, optional
        The planned epochs of the run, of which ``warmup="auto"`` takes a third at the most. By default those that
        `rrm_torch.fit` is told. A state has it too, for a loop that resumes without it.
    layout : {"replicated", "sharded"}, optional
        How the ranks of a torch.distributed job share the samples, see `rrm_torch.distributed`. ``"replicated"``: each
        stores the weights of all, and may train on any. ``"sharded"``: each stores those of its slice, and trains on no
        others, see `rrm_torch.distributed.ShardSampler`; `weights` and `losses` are those of the slice. By default a
        single process stores and trains on all samples.
    group : torch.distributed.ProcessGroup, optional
        The ranks; by default all.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value, or n samples are too few for the contamination to prune one; an array,
        `cap` or `mass` needs groups, or does not fit them.
    RuntimeError
        A layout is given, and torch.distributed isn't initialised.

    Notes
    -----
    With ``contamination="auto"``, ``warmup="auto"`` or ``rank_by="noise-aware"``, a warm-up holds out 15 % of the
    samples: their weight is 0, and that of the others about 1 / 0.85 (1 with ``redistribute="drop"``). They are chosen
    by a hash of the index and `seed`. `weighted_mean` needs the logits and labels, and records the predictions, which
    take 15 to 27 bytes a sample.

    ``warmup="auto"`` counts rounds: epochs; with fewer than 12 planned epochs, or where steps are counted, quarters of
    an epoch. The share of held-out samples that are predicted as labelled, less what chance would give, is averaged
    over three rounds. The warm-up lasts three rounds at least; an epoch, where steps are counted; and a third of the
    planned epochs at most. In between it ends

    - once the share has not risen for three rounds: more where three have less than 100 batches, and three times as
      many while the model has learnt little (Cohen's kappa is below 0.2, and the share has risen by less than 0.1);
    - or once trained samples are predicted as labelled more often than those held out, by 0.15 and by three standard
      errors of a share of one half, and the share has not risen notably in three rounds: the model memorises.

    A notable rise is 0.04; with more than 100 batches in a round, 0.04 for each 100 of them, up to 0.16. If the share
    rose notably in the last three rounds of the warm-up, the model was still learning.

    The estimate is that of `rrm_core.estimate_contamination`, of the predictions in the three epochs up to the earliest
    with a share within a standard error of the highest. It is 0, with a warning, if the model has learnt nothing (kappa
    is below 0.1, or within two standard errors of 0), and does not change afterwards. The first reweight plans over the
    samples trained on, unless it is given others, and those held out get weight 1: their losses are higher, as the
    model has not seen them. From then on they are weighted like all others.

    With a layout, all ranks must call `step`, `state_dict`, `load_state_dict`, `flagged`, `ranking` and `issues`
    together. An error on one rank is raised on all, by `step`; where steps are counted, by the next one that is due.
    The state depends neither on the layout nor on the number of ranks.

    References
    ----------
    .. [1] Chen, Chern, Eckstrand, Mahapatra, Royset, "Enhancing Learning with Noisy Labels via Rockafellian
       Relaxation", ICLR 2026, arXiv:2405.20531.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch import RRM
    >>> rrm = RRM(4, contamination=0.25, warmup=1)
    >>> for _ in range(2):
    ...     losses = torch.tensor([0.1, 9.0, 0.2, 0.3])  # from the model, with reduction="none"
    ...     loss = rrm.weighted_mean(losses, torch.arange(4))
    ...     plan = rrm.step()
    >>> rrm.weights
    tensor([1.3333, 0.0000, 1.3333, 1.3333])
    >>> rrm.flagged()
    tensor([1])
    """

    settings: Settings

    _steps_per_epoch: int | None = None
    """Calls of `step` in an epoch, where these end steps, and it is known."""

    def __init__(
        self,
        n: int,
        *,
        contamination: npt.ArrayLike | ShareSchedule | Auto | None = None,
        gamma: float | Schedule | None = None,
        mu: float | Schedule = 1.0,
        warmup: int | Auto | None = None,
        every: int = 1,
        unit: Unit = "epoch",
        redistribute: Redistribute = "kept",
        ties: Literal["keep", "share"] = "keep",
        nan: Literal["raise", "prune"] = "raise",
        scale: Scale = "mean",
        weight_limit: float = 100.0,
        ids: Ids | None = None,
        losses_from: LossesFrom = "training",
        unseen: Unseen = "raise",
        groups: GroupsLike | None = None,
        cap: npt.ArrayLike | None = None,
        mass: Mass = "all",
        rank_by: RankBy = "loss",
        seed: int = 0,
        epochs: int | None = None,
        layout: LayoutName | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if warmup is None:
            warmup = AUTO if isinstance(contamination, str) else DEFAULT_WARMUP
        settings = Settings(
            n=n,
            contamination=contamination,
            gamma=gamma,
            mu=mu,
            warmup=warmup,
            every=every,
            unit=unit,
            redistribute=redistribute,
            ties=ties,
            nan=nan,
            scale=scale,
            weight_limit=weight_limit,
            ids=ids,
            losses_from=losses_from,
            unseen=unseen,
            groups=groups,
            cap=cap,
            mass=mass,
            rank_by=rank_by,
            seed=seed,
        )
        self._are_epochs_given = epochs is not None
        self._warned_of_end = False
        super().__init__(settings, make_layout(layout, settings.n, group), layout)
        if epochs is not None:
            self._state = replace(self._state, epochs=check_count("epochs", epochs))
        if settings.needs_predictions:
            self._state = self._warmup_start()
        self._warns_of_coverage = losses_from == "training"
        # Ranks compare it. Raises for a schedule that no state could tell from another.
        self._settings_hash = stable_hash((layout, losses_from, settings.describe()))
        self._groups: SampleGroups | None = None
        self._scorer: SampleScorer | None = None
        if self.groups is not None:
            self._groups = SampleGroups(self.groups, self._layout.start, self._layout.end)

    @property
    def groups(self) -> rrm_core.Groups | None:
        """The group of each of the n samples; None without groups."""
        return self.settings.sample_groups

    @property
    def unit(self) -> Unit:
        """What `epoch` counts, and when to call `step`: after each epoch, or after each step of the optimizer."""
        return self.settings.unit

    @property
    def epochs(self) -> int | None:
        """The planned number of epochs; None if it isn't known."""
        return self._state.epochs

    @property
    def due(self) -> bool:
        """Whether the next `step` reweights; in a warm-up that ends by itself, whether it may."""
        predictions = self._state.predictions
        if predictions is None:
            return self.settings.is_due(self.epoch + 1, self._state.warmup_end)
        return self._warmup.may_be_over(predictions, self.epoch + 1)

    @property
    def estimate(self) -> rrm_core.ContaminationEstimate | None:
        """The estimate made at the end of the warm-up; None before, and where no warm-up holds out samples."""
        return self._state.estimate

    @torch.inference_mode(False)
    def step(
        self,
        losses: Tensor | None = None,
        *,
        among: Tensor | None = None,
        contamination: npt.ArrayLike | None = None,
    ) -> rrm_core.Plan | rrm_core.GroupedPlan | None:
        """End an epoch, or a step where these are counted; reweight if that is due.

        Parameters
        ----------
        losses : Tensor, shape (n_local,) or (m,), optional
            The losses of all samples (with a sharded layout, of this rank's), as `rrm_torch.score` returns them: the
            paper's way. Or those of the m samples in `among` alone, in the order of its indices, ascending for a mask.
            By default those that `weighted_mean` recorded during the epoch, which need no extra pass.
        among : Tensor of int64 or int32, shape (m,), or of bool, shape (n_local,), optional
            The population: the samples to plan over, as indices in the training set or as a mask; with a sharded
            layout those of this rank's slice, otherwise the same on all ranks. By default all. Only these need a loss.
            The other samples get weight 1, are not pruned, and the reweight does not count for them in `trajectory`.
        contamination : float in [0, 1), or array of shape (n_groups,), optional
            The share of the population to prune at this reweight, in place of the settings' contamination or gamma; or
            the share of each group.

        Returns
        -------
        Plan, GroupedPlan or None
            The reweight's threshold and counts, with groups those of each; None if none was due.

        Raises
        ------
        ValueError
            A reweight is due but a sample was not recorded, or more than once, since the last step (where steps are
            counted: never), see `unseen`; or `losses` or `among` has the wrong shape, or only some ranks pass any;
            `among` names no sample, or one twice; or no contamination is known. With a layout: ranks have other
            settings or another contamination, or aren't in the same epoch.
        TypeError
            `losses` or `among` isn't a tensor of the right type.
        IndexError
            An index in `among` is out of range. Or an index on a GPU was outside [0, n); or, with several ranks, any
            was outside the rank's samples: the losses that came with it were not recorded, and the next call does not
            raise this again.

        Warns
        -----
        UserWarning
            Once each: no reweight is due yet, but the losses of this epoch are incomplete and would be an error when
            one is; a sample's weight exceeds `weight_limit`.

        Notes
        -----
        An error leaves the state as it was, recorded losses included; after an interrupt it is the state before the
        call or the one after it.

        With `mu` below 1 the old weights of a population, 1 for a newcomer, are first multiplied by float32(m / S),
        where S is their exact sum; not with ``redistribute="drop"``. So the mean weight of a population is 1 after the
        reweight, and that of all samples too. If the old weight of every member is 0, they start from 1 as well. With
        ``mass="group"`` this is done within each group.
        """
        if self.unit == "step" and not (self.due or self._ends_round()):
            check_losses(losses)
            self._state = replace(self._state, epoch=self.epoch + 1)
            return None
        state, arguments, any_recorded = self._agree(losses, among, contamination)
        predictions = state.predictions
        state = end_warmup_round(state, self.settings, self._layout, self._warmup, stacklevel=3)
        is_due = self.settings.is_due(state.epoch + 1, state.warmup_end)
        mask = arguments.mask
        if mask is None and is_due and self.settings.needs_predictions and not state.trajectory.rounds:
            mask = trained_on(self._layout, self.settings, self.weights.device)
        population = self._population(mask)
        buffer = state.buffer
        warns = any_recorded and self._warns_of_coverage and self.unit == "epoch"
        if losses is None and (is_due or warns):
            buffer = self._layout.merge_recorded(buffer, None if population is None else population.mask)
            self._check_coverage(state, buffer, population, is_due=is_due)
        if is_due:
            state = self._reweighted(state, buffer, arguments, population)
            if predictions is not None and self.settings.cap is None:
                labels = self._layout.merge_highest(predictions.labels.int())
                pruned = state.trajectory.last
                warn_of_pruned_classes(labels, pruned, mask, self._layout, self.settings, stacklevel=3)
        # All that can fail is done: the state changes by this one assignment.
        self._state = state = replace(state, epoch=state.epoch + 1, buffer=buffer.next_epoch())
        return state.plan if state.last_reweight == state.epoch else None

    def _agree(
        self, losses: Tensor | None, among: Tensor | None, contamination: npt.ArrayLike | None
    ) -> tuple[LiveState, StepArguments, bool]:
        """Raise on all ranks what is wrong on one; return the state and arguments, and whether any has recorded.

        The state has one dtype on all ranks, and ranking numbers on all or on none.
        """
        error: Exception | None = None
        arguments = StepArguments(None, None, None, is_given=False)
        try:
            arguments = read_arguments(
                losses,
                among,
                contamination,
                settings=self.settings,
                layout=self._layout,
                epoch=self.epoch + 1,
                device=self.weights.device,
                is_due=self.due,
                estimated=self.settings.estimated_contamination(self._state.estimate),
            )
        except (TypeError, ValueError, IndexError) as failure:
            error = failure
        losses = arguments.losses
        passed = arguments.rule.contamination if arguments.rule is not None and arguments.is_given else None
        equal = {
            "settings": self._settings_hash,
            "epoch": self.epoch,
            "losses": losses is not None,
            "among": self._layout.identify(arguments.mask),
            "contamination": 0 if passed is None else stable_hash(passed),
            "epochs": self.epochs or 0,
        }
        is_double = self._is_double or (losses is not None and losses.dtype == torch.float64)
        any_recorded, any_double, any_ranked = raise_if_any_rank_failed(
            self._buffer, self._layout, error, is_double=is_double, **equal
        )
        if losses is not None:
            self.to(losses.device)
        state = self._state.double() if any_double else self._state
        if any_ranked and losses is None:
            state = replace(state, buffer=state.buffer.ranked())
        return state, arguments, any_recorded

    def _population(self, mask: Tensor | None) -> Population | None:
        """Return the population of a step. Collective where there are ranks and a mask."""
        if mask is None:
            return None
        n = int(self._layout.all_reduce_sum(mask.count_nonzero()[None]))
        if not n:
            raise ValueError(f"among must name at least one of the {self.n} samples, got none")
        return Population(mask, n)

    def _check_coverage(
        self, state: LiveState, buffer: LossBuffer, population: Population | None, *, is_due: bool
    ) -> None:
        """Raise if the recorded losses can't be reweighted by; if no reweight is due, warn once instead."""
        error = find_coverage_error(state, buffer, population, self.settings, self._layout)
        if is_due:
            if error is not None:
                raise ValueError(error)
            return
        error = error or find_nan(buffer, population, self.settings, self._layout)
        if error is None:
            return
        self._warns_of_coverage = False
        warnings.warn(f"{error}. No reweight is due yet", stacklevel=4)

    def _reweighted(
        self, state: LiveState, buffer: LossBuffer, arguments: StepArguments, population: Population | None
    ) -> LiveState:
        """Return the state after the reweight by the losses passed to `step`, or by those recorded."""
        epoch = state.epoch + 1
        rule = arguments.rule
        if rule is None or not arguments.is_given:
            rule = self.settings.rule(epoch, self.settings.estimated_contamination(state.estimate))
        mu = self.settings.mu_at(epoch)
        used = losses_of_step(state, buffer, arguments.losses, population, self.settings, self._layout)
        numbers = used.numbers
        members = used.members
        groups = None if self._groups is None else self._groups.of(members, numbers.device)
        weights = state.weights
        if self.settings.needs_predictions and not state.trajectory.rounds:
            # A warm-up changes weights, but doesn't rate samples.
            weights = torch.ones_like(weights)
        if population is not None and members is not None:
            rescales = mu < 1 and rule.redistribute != "drop"
            keeping = groups if rule.mass == "group" else None
            weights = initial_weights(weights, members, self._layout, rescales=rescales, groups=keeping)
        weights, plan = self._layout.reweight(numbers, weights, mu, rule, members, groups)
        thresholds = None
        if isinstance(plan, rrm_core.GroupedPlan):
            assert self._groups is not None
            thresholds = self._groups.thresholds(plan, numbers)
        trajectory = state.trajectory.copy()
        entry = trajectory.record(
            epoch,
            numbers,
            weights,
            plan=plan,
            members=members,
            contamination=rule.contamination,
            is_given=arguments.is_given,
            thresholds=thresholds,
        )
        n_recipients = total(plan.n_recipients)
        received = f"{n_recipients} of {plan.n} samples received the mass of {entry.n_pruned} pruned ones"
        self._warn_of_weight(entry, f"{received}, and may outweigh a batch", stacklevel=4)
        return replace(
            state, weights=weights, losses=used.losses, ranking=used.ranking, plan=plan, trajectory=trajectory
        )

    def plan_epochs(self, epochs: int) -> None:
        """Set the planned number of epochs, unless it was given to the constructor; `rrm_torch.fit` calls this."""
        if not self._are_epochs_given:
            self._state = replace(self._state, epochs=check_count("epochs", epochs))

    def warn_of_end(self, end: int, epoch_length: int = 1) -> None:
        """Warn, once, if a run that ends after an epoch or step never reweights in time; `rrm_torch.fit` calls this.

        `epoch_length` is the number of calls of `step` in an epoch, where steps are counted.
        """
        remedy = "train longer, or make RRM with epochs=, the planned number, if the run goes on"
        # A warm-up of "auto" ends after the first epoch at the earliest, or after four rounds of as many steps.
        first = 1 if self.unit == "epoch" else ROUNDS_PER_PASS * -(-epoch_length // ROUNDS_PER_PASS)
        first = min(first, self._warmup.longest or first)
        if isinstance(self.settings.warmup, int):
            remedy = "make RRM with a smaller warmup, or with epochs=, the planned number, if the run goes on"
            first = self.settings.warmup
        if self._warned_of_end or end > first:
            return
        self._warned_of_end = True
        consequence = "no epoch is trained with the new weights"
        if end < first:
            consequence = "no sample is ever pruned"
        warnings.warn(
            f"the run ends after {self._name_of(end, epoch_length)}, and the first reweight follows "
            f"{self._name_of(first, epoch_length)} at the earliest: {consequence}; {remedy}",
            stacklevel=4,
        )

    def _name_of(self, number: int, epoch_length: int) -> str:
        """Return an epoch, or a step and the epoch that it is in, in words."""
        name = f"{self.unit} {number}"
        return name if epoch_length == 1 else f"{name} (in epoch {-(-number // epoch_length)})"

    @property
    def _warmup(self) -> WarmupSchedule:
        return WarmupSchedule(
            self.settings.warmup,
            self.unit,
            self.epochs,
            self.settings.reason_for_predictions,
            self._steps_per_epoch,
        )

    def _ends_round(self) -> bool:
        """Return whether the next step ends a round of a warm-up that records predictions."""
        predictions = self._state.predictions
        return predictions is not None and self._warmup.ends_round(predictions, self.epoch + 1)

    def _batch_weights(self, losses: Tensor, index: Tensor, ranking: Tensor | None, record: bool) -> Tensor:
        positions = self._record(losses, index, ranking) if record else self._locate(losses, index)
        # A rank with an empty slice has no weights to index.
        return self.weights[positions] if self._layout.n_local else torch.zeros_like(losses, requires_grad=False)

    def _new_buffer(self) -> LossBuffer:
        buffer = LatestLossBuffer if self.settings.keeps_latest else EpochLossBuffer
        return buffer(
            self._layout.start,
            self._layout.end,
            defer_errors=self._layout.size > 1,
            skip_nan=self.settings.skips_nan,
        )

    @property
    def _needs_outputs(self) -> bool:
        return self._state.predictions is not None or self.settings.rank_by != "loss"

    def _use_outputs(
        self, losses: Tensor, index: Tensor, ranking: Tensor | None, logits: Tensor | None, labels: Tensor | None
    ) -> Tensor | None:
        logits, labels = check_outputs(logits, labels, len(losses), self.settings.reason_for_predictions)
        if self.settings.rank_by != "loss":
            ranking = self._score(losses, index, ranking, logits, labels)
        if self._state.predictions is not None:
            self._record_predictions(losses, index, logits, labels)
        return ranking

    def _score(self, losses: Tensor, index: Tensor, ranking: Tensor | None, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the scores of a batch that `rank_by` names."""
        if ranking is not None:
            raise ValueError(f"give ranking or rank_by, not both, got ranking and rank_by={self.settings.rank_by!r}")
        state = self._state
        if self._scorer is None or not self._scorer.is_current(state.estimate, state.plan):
            assert self.groups is not None
            self._scorer = SampleScorer(self.settings.rank_by, self.groups, state.estimate, state.plan)
        return self._scorer.score(losses, index, logits, labels)

    def _record_predictions(self, losses: Tensor, index: Tensor, logits: Tensor, labels: Tensor) -> None:
        self._adapt(losses)
        if self._layout.size == 1:
            # An index out of range raises before anything is recorded; with ranks it is reported later.
            self._locate(losses, index)
        predictions = self._state.predictions
        assert predictions is not None
        predictions.record(logits, labels, index, self._warmup.rounds_per_epoch)

    @torch.inference_mode(False)
    def _warmup_start(self) -> LiveState:
        return begin_warmup(self._state, self.settings, self._layout)

    def _planned_epochs(self, saved: int | None) -> int | None:
        return self.epochs if self._are_epochs_given else saved

    def _load_predictions(self, state: dict[str, Any] | None) -> PredictionBuffer | None:
        if state is None:
            return None
        empty = self._warmup_start().predictions
        assert empty is not None
        return load_predictions(state, empty, self._layout).to(self.weights.device)

    def _check_consistency(self, state: dict[str, Any], rounds: list[Reweight]) -> None:
        check_consistency(state, rounds, self.settings)

    def _plan_again(self, state: dict[str, Any], rounds: list[Reweight]) -> rrm_core.Plan | rrm_core.GroupedPlan | None:
        if not rounds:
            return None
        estimate = read_estimate(state["estimate"])
        numbers = state["losses"] if state["ranking"] is None else state["ranking"]
        return replay_plan(self.settings, numbers.detach().cpu(), state["trajectory"]["bits"][-1], rounds[-1], estimate)
