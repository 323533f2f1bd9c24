"""RRM: the weights and losses of all samples, and the step that derives one from the other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.distributed import ProcessGroup

import rrm_core

from .._checks import check_count, check_mu
from .._models import to_device
from ..distributed.process_group import stable_hash
from . import epoch_checks as faults
from . import schedule
from .fingerprint import fingerprint
from .layout import Name as LayoutName
from .layout import layout as layout_called
from .loss_buffer import LossBuffer
from .pruning_history import PruningHistory, Reweight
from .schedule import Schedule

Unit = Literal["epoch", "step"]
Scope = Literal["all", "batch"]
Scale = Literal["mean", "paper"]
LossesFrom = Literal["training", "pass"]


class RRM:
    """Rockafellian Relaxation around any per-sample loss: one added line in the training loop, one after each epoch.

    Looks and behaves like a torch learning-rate scheduler: `step`, `state_dict`, `load_state_dict`.

    Parameters
    ----------
    n : int
        Number of training samples. A sample is known by its index in [0, n).
    contamination : float in [0, 1), or a function of the epoch
        The estimated share of wrong labels: this share of the samples, those with the highest losses, is pruned at each
        reweight. Rather too low than too high. Give this or `gamma`. `rrm_torch.Ramp` is such a
        function.
    gamma : float, at least 0, or a function of the epoch
        The price of leaving the uniform distribution, in units of the loss: samples more than `gamma` above the
        smallest loss are pruned.
    mu : float in (0, 1], or a function of the epoch, default 1
        Step from the current weights to the new ones.
    warmup : int, default 10
        Epochs of plain training before the first reweight. Before the model has learnt anything, its losses say
        nothing about the labels; long after, it has learnt the wrong ones too.
    every : int, default 1
        Epochs from one reweight to the next.
    unit : {"epoch", "step"}, default "epoch"
        What `warmup`, `every` and the functions count, and when to call `step`: after each epoch; or after each of the
        optimiser's steps, in which case a reweight takes every sample's latest recorded loss.
    scope : {"all", "batch"}, default "all"
        Weigh all samples against each other; or, after the warm-up, those of each batch, as it comes, with the current
        contamination or gamma: per-batch trimming, which needs no state, and of which Co-teaching is made.
    redistribute : {"kept", "argmin", "drop"} or float in (0, 1], default "kept"
        Who receives the mass of the pruned samples, as in `rrm_core.reweight`. The paper's ``"argmin"`` may hand all of
        it to a single sample, early in training; ``"kept"`` never does.
    ties : {"keep", "share"}, default "keep"
        What happens on the threshold, as in `rrm_core.reweight`. Bounded losses, such as the mean absolute error, tie
        at their cap, where only ``"share"`` removes anything. Samples that gave up a share are not among the `flagged`.
    nan : {"raise", "prune"}, default "raise"
        Refuse NaN among the losses, or prune those samples.
    scale : {"mean", "paper"}, default "mean"
        What `weighted_mean` returns of a batch: the mean of weight times loss, so that learning rates mean what they
        always do; or, as in the authors' code, the sum of the weights p = weight / n times the losses, which is
        ``batch / n`` of it. With a layout, times the number of ranks, over which gradients are averaged.
    weight_limit : float, default 100
        Warn, once, when a sample's weight exceeds this. inf never warns.
    ids : sequence of str or int, array or Tensor, optional
        What the indices stand for: file names, keys, labels. Only a hash is kept, and goes into the state: one of
        another data set is refused.
    losses_from : {"training", "pass"}, default "training"
        Where the losses behind a reweight come from: those that `weighted_mean` records in training; or a pass of its
        own over the samples, whose losses `step` is given, or `record` gets after `reset_losses`. Then training may
        visit any samples, and no warning says that the losses recorded there are incomplete.
    layout : {"replicated", "sharded"}, optional
        How the ranks of a torch.distributed job share the samples, see `rrm_torch.distributed`. ``"replicated"``: each
        holds the weights of all, and may train on any. ``"sharded"``: each holds those of its slice, and trains on no
        others, as `rrm_torch.distributed.ShardSampler` has it; `weights` and `losses` are those of the slice.
        By default, one process has seen all samples.
    group : ProcessGroup, optional
        The ranks; by default all.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value, or n samples are too few for the contamination to prune one.
    RuntimeError
        A layout is asked for, and torch.distributed isn't initialised.

    Notes
    -----
    With a layout, all ranks must call `step`, `state_dict`, `load_state_dict`, `flagged` and `ranking` together. What
    is wrong on one of them is raised on all, by `step`; where steps are counted, by the next that is due. The state
    doesn't tell how many ranks there were, nor the layout.

    References
    ----------
    .. [1] Chen, Chern, Eckstrand, Mahapatra, Royset, "Enhancing Learning with Noisy Labels via Rockafellian
       Relaxation", ICLR 2026, arXiv:2405.20531.

    Examples
    --------
    >>> import torch
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

    def __init__(
        self,
        n: int,
        *,
        contamination: float | Schedule | None = None,
        gamma: float | Schedule | None = None,
        mu: float | Schedule = 1.0,
        warmup: int = 10,
        every: int = 1,
        unit: Unit = "epoch",
        scope: Scope = "all",
        redistribute: Literal["kept", "argmin", "drop"] | float = "kept",
        ties: Literal["keep", "share"] = "keep",
        nan: Literal["raise", "prune"] = "raise",
        scale: Scale = "mean",
        weight_limit: float = 100.0,
        ids: Sequence[str] | Sequence[int] | np.ndarray[Any, Any] | Tensor | None = None,
        losses_from: LossesFrom = "training",
        layout: LayoutName | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        self.n, self.warmup, self.every = (
            check_count("n", n),
            check_count("warmup", warmup),
            check_count("every", every),
        )
        self.unit, self.scope, self.scale = (
            _choice(name, given, kind)
            for name, given, kind in (("unit", unit, Unit), ("scope", scope, Scope), ("scale", scale, Scale))
        )
        self.losses_from = _choice("losses_from", losses_from, LossesFrom)
        self.contamination, self.gamma = contamination, gamma
        # Every wrong setting is noticed here, not at the first reweight. Plain numbers, also where NumPy's were given.
        rule = self._rule_after(self.warmup, redistribute=redistribute, ties=ties, nan=nan)
        self.contamination = contamination if callable(contamination) else rule.contamination
        self.gamma = gamma if callable(gamma) else rule.gamma
        self._policy: dict[str, Any] = {"redistribute": rule.redistribute, "ties": rule.ties, "nan": rule.nan}
        for price in () if gamma is None else schedule.known(gamma, self.warmup):
            rrm_core.Rule(gamma=price)
        shares = () if contamination is None else schedule.known(contamination, self.warmup)
        quotas = [rrm_core.Rule(share).quota(self.n) for share in shares]
        if scope == "all" and any(shares) and not any(quotas):
            raise ValueError(
                f"n={self.n} samples are too few for contamination={max(shares):g}: it would prune less than "
                f"one; give at least {1 / self.n:.3g}, or 0 to prune none"
            )
        steps = schedule.known(mu, self.warmup)
        for step in steps:
            check_mu(step)
        self.mu = mu if callable(mu) else float(mu)
        if scope == "batch" and (set(steps) != {1} or unit == "step"):
            raise ValueError(
                "scope='batch' keeps no old weights and has no due step: mu must be 1 and unit 'epoch', got "
                f"{' to '.join(map(str, steps))} and {unit!r}"
            )
        limit: object = weight_limit  # Python's float is a Real, but not in the eyes of the type checker
        if not isinstance(limit, Real):
            raise TypeError(f"weight_limit must be a number, got {limit!r}")
        if not weight_limit >= 1:
            raise ValueError(f"weight_limit must be at least 1, the weight that all begin with, got {weight_limit}")
        self.weight_limit = float(weight_limit)
        self._ids = None if ids is None else fingerprint(ids)
        if ids is not None and len(ids) != self.n:
            raise ValueError(f"ids must name each of the n={self.n} samples, got {len(ids)}")
        if scope == "batch" and layout is not None:
            raise ValueError(f"scope='batch' weighs each batch by itself, and has no use for layout={layout!r}")
        self.epoch = 0
        self.layout = layout
        self._layout = layout_called(layout, self.n, group)
        held = self._layout.held
        self._weights, self._losses = torch.ones(held), torch.full((held,), torch.nan)
        self._buffer = self._new_recorder()
        self._plan: rrm_core.Plan | None = None
        self.trajectory = PruningHistory(self.n, self._layout)
        self._warned_of_weight = False
        self._warns_of_coverage = losses_from == "training"
        # Which refuses a schedule that no state could tell from another.
        self._settings_hash = stable_hash((layout, self._settings()))

    @property
    def weights(self) -> Tensor:
        """Current sample weights: float32, shape (n,), all 1 before the first reweight. The state itself, not a copy.

        Their mean is 1; with ``redistribute="drop"`` it falls below.
        """
        return self._weights

    @property
    def losses(self) -> Tensor:
        """The losses behind the last reweight: float32, shape (n,); NaN before the first, and for samples not seen."""
        return self._losses

    @property
    def plan(self) -> rrm_core.Plan | None:
        """Threshold and counts of the last reweight; None before the first, and with ``scope="batch"``."""
        return self._plan

    @property
    def due(self) -> bool:
        """Whether the next `step` reweights; never with ``scope="batch"``."""
        return self.scope == "all" and schedule.due(self.epoch + 1, warmup=self.warmup, every=self.every)

    def weighted_mean(
        self, losses: Tensor, index: Tensor, *, regularizer: Tensor | None = None, ranking: Tensor | None = None
    ) -> Tensor:
        """Return the mean of a batch's losses times their weights, and record the losses for the next `step`.

        Parameters
        ----------
        losses : Tensor, shape (batch,)
            One loss per sample, with ``reduction="none"``.
        index : Tensor of int64, shape (batch,)
            The samples' indices in the training set.
        regularizer : Tensor, shape (batch,), optional
            The part of each sample's loss that doesn't depend on its label, such as a regulariser: not weighted, not
            recorded.
        ranking : Tensor, shape (batch,), optional
            With ``scope="batch"``, the losses that decide who is pruned: in Co-teaching, those of the other network.

        Returns
        -------
        Tensor, shape ()
            ``(weights[index] * losses + regularizer).mean()``, to call ``backward()`` on; with ``scale="paper"`` the
            sum over n. A loss of weight 0 counts as 0 even if it is infinite or NaN; but if the model's outputs are, so
            are the gradients. Nothing here waits for a GPU (with ``scope="batch"``, given rrm_core's CUDA kernels).

        Raises
        ------
        TypeError
            `index` isn't a tensor of integers.
        ValueError
            `losses` isn't one-dimensional, or another argument of another length; `ranking` without batches' scope.
        IndexError
            An index lies outside [0, n). If it is on a GPU, the next `step` raises this.
        """
        _require_batch(losses, index)
        for name, other in (("regularizer", regularizer), ("ranking", ranking)):
            if other is not None and other.shape != losses.shape:
                raise ValueError(f"{name} must have the losses' shape {tuple(losses.shape)}, got {tuple(other.shape)}")
        if ranking is not None and self.scope == "all":
            raise ValueError("ranking needs scope='batch': with scope='all' it is the recorded losses that decide")
        self.to(losses.device)
        detached = losses.detach().float()
        place = self._buffer.record(detached, index, self.epoch + 1)
        if self.scope == "batch":
            self._weights[place] = self._batch_weights(detached if ranking is None else ranking.detach().float())
        weights = self._weights[place] if self._layout.held else torch.zeros_like(detached)
        weighted = torch.where(weights == 0, 0, weights * losses)
        if regularizer is not None:
            weighted = weighted + regularizer
        # Gradients are averaged over ranks, so that of a sum counts once for each.
        return weighted.mean() if self.scale == "mean" else weighted.sum() / (self.n / self._layout.size)

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
            An index on the host lies outside.
        """
        begin, end = self._layout.begin, self._layout.end
        if index.device.type == "cpu" and len(outside := index[(index < begin) | (index >= end)]):
            raise IndexError(f"index must lie in [{begin}, {end}), the samples held here, got {int(outside[0])}")
        return self._weights[to_device(index, self._weights.device) - begin]

    def record(self, losses: Tensor, index: Tensor) -> None:
        """Record the losses of a batch for the next `step` without weighing them, as a pass that only scores does.

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
        _require_batch(losses, index)
        self.to(losses.device)
        self._buffer.record(losses.detach().float(), index, self.epoch + 1)

    def step(self, losses: Tensor | None = None) -> rrm_core.Plan | None:
        """End an epoch, or a step where these are counted; reweight if that is due.

        Parameters
        ----------
        losses : Tensor, shape (n,), optional
            The losses of all samples, as `rrm_torch.score` gives them: the paper's way. By default those that
            `weighted_mean` recorded during the epoch, which costs no extra pass.

        Returns
        -------
        Plan or None
            The reweight's threshold and counts; None if none was due, and with ``scope="batch"``.

        Raises
        ------
        ValueError
            A reweight is due but a sample was not seen, or more than once, since the last step (where steps are
            counted: was never seen); or `losses` don't fit, or only some ranks were given any. Weights, losses and
            epoch are as before the call. With ``scope="batch"``: `losses` were given, or those recorded have NaN and
            `nan` is ``"raise"``. With a layout: ranks have other settings, or aren't in the same epoch.
        TypeError
            `losses` aren't a tensor.
        IndexError
            An index on a GPU lay outside [0, n); or, with several ranks, any outside what a rank holds. What came with
            it wasn't recorded.

        Warns
        -----
        UserWarning
            No reweight is due yet, but at the next due one this epoch's losses would be refused. Or a sample's weight
            exceeds `weight_limit`. Each is said once.
        """
        by_step, due, fault = self.unit == "step", self.due, None
        misfit = self._misfit(losses)
        if self.scope == "batch":
            if misfit is not None:
                raise misfit
            self._end_of_batches()
            return None
        if due or not by_step:
            same = {"settings": self._settings_hash, "epoch": self.epoch, "losses": losses is not None}
            faults.raise_on_all(self._buffer, self._layout, misfit, **same)
        elif misfit is not None:
            raise misfit
        if losses is None and (due or (self._warns_of_coverage and not by_step)):
            self._layout.collect(self._buffer)
            fault = faults.of_recorded(self._buffer, self._layout, self.epoch + 1 if by_step else None)
        if not by_step:
            anything = fault is not None and faults.count(self._buffer.times_seen > 0, self._layout) > 0
            self._buffer.restart()  # whatever comes now, the next epoch begins afresh
            if anything and not due:
                self._warns_of_coverage = False
                warnings.warn(f"{fault}. No reweight is due yet", stacklevel=2)
        if fault and due:
            raise ValueError(fault)
        plan = self._reweight(self._buffer.losses if losses is None else self._layout.agreed(losses)) if due else None
        self.epoch += 1
        return plan

    def reset_losses(self) -> None:
        """Begin recording anew, so that `step` goes by what `record` gets from now on."""
        self._buffer.restart()

    def to(self, device: torch.device) -> None:
        """Move to a device; free once there. `weighted_mean` and `step` follow the losses to theirs."""
        if self._weights.device != device:
            self._weights, self._losses = self._weights.to(device), self._losses.to(device)
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
        return ranking[self._layout.whole(self.trajectory.last)[ranking]]

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

        With a layout it is the state of all samples, the same on all ranks, which call this together.
        """
        whole = self._layout.whole
        state = {
            "settings": self._settings(),
            "epoch": self.epoch,
            "weights": whole(self._weights).clone(),
            "losses": _with_one_nan(whole(self._losses)),
            "trajectory": self.trajectory.state_dict(),
        }
        if self.unit == "step":  # it has no end of an epoch at which these are empty
            recorder = self._buffer.copy()
            self._layout.collect(recorder)
            state["recorded"] = _with_one_nan(whole(recorder.losses))
            state["times_seen"] = whole((recorder.times_seen > 0).byte())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from `state_dict`.

        Parameters
        ----------
        state : dict
            From an RRM with the same number of samples and the same settings.

        Raises
        ------
        ValueError
            The settings differ, the data set does, or an entry is missing; the message says which. The state is as
            before the call.
        """
        by_sample = ["weights", "losses", *(["recorded", "times_seen"] if self.unit == "step" else [])]
        missing = {"settings", "epoch", "trajectory", *by_sample} - state.keys()
        if missing:
            raise ValueError(f"state lacks {', '.join(sorted(missing))}; pass what RRM.state_dict() returned")
        there, here = state["settings"], self._settings()
        if there.get("n") == here["n"] and there.get("ids") != here["ids"]:
            raise ValueError(
                f"state was saved for another data set: the hash of its ids is {there.get('ids')} there and "
                f"{here['ids']} here"
            )
        differing = [name for name in here if there.get(name) != here[name]]
        if differing:
            raise ValueError(
                "state was saved by an RRM with other settings: "
                + ", ".join(f"{name} is {there.get(name)!r} there and {here[name]!r} here" for name in differing)
            )
        for name in by_sample:
            shape = getattr(state[name], "shape", None)
            if shape != (self.n,):
                raise ValueError(f"state's {name} must have shape ({self.n},), got {shape and tuple(shape)}")
        epoch, weights = state["epoch"], state["weights"]
        if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
            raise ValueError(f"state's epoch must be an integer of at least 0, got {epoch!r}")
        if not weights.is_floating_point() or not bool((weights.isfinite() & (weights >= 0)).all()):
            raise ValueError("state's weights must be floating, finite and at least 0; the file may be damaged")
        device = self._weights.device
        arrays = {name: state[name].detach().to(device, copy=True) for name in by_sample}
        recorder, trajectory, plan = self._new_recorder(), PruningHistory(self.n, self._layout), None
        recorder.to(device)
        trajectory.load_state_dict(state["trajectory"])
        if self.scope == "all" and trajectory.rounds:
            # What was planned once can be planned again, to the same bits.
            last = trajectory.rounds[-1]
            plan = rrm_core.plan(arrays["losses"].float(), **_arguments(self._rule_after(last.epoch, **self._policy)))
            if plan.n_pruned != last.n_pruned or plan.threshold != last.threshold:
                raise ValueError(
                    f"state was saved by an RRM with another schedule, which pruned {last.n_pruned} samples after "
                    f"{self.unit} {last.epoch}, where this one prunes {plan.n_pruned}"
                )
        arrays = {name: self._layout.share(array).clone() for name, array in arrays.items()}
        if self.unit == "step":
            recorder.take(arrays["recorded"], arrays["times_seen"])
        trajectory.to(device)
        self.epoch, self._plan = epoch, plan
        self._weights, self._losses = arrays["weights"].float(), arrays["losses"].float()
        self._buffer, self.trajectory = recorder, trajectory

    def __repr__(self) -> str:
        unsaid = (None, "epoch", "all", "mean")  # no ids, and the defaults of unit, scope and scale
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items() if value not in unsaid)
        pruned = f", pruned={self.trajectory.rounds[-1].n_pruned}" if self.trajectory.rounds else ""
        return f"RRM({settings}; {self.unit}={self.epoch}{pruned})"

    def _settings(self) -> dict[str, Any]:
        changing = {name: getattr(self, name) for name in ("contamination", "gamma", "mu")}
        return {
            "n": self.n,
            **{name: None if given is None else schedule.describe(given) for name, given in changing.items()},
            **self._policy,
            **{name: getattr(self, name) for name in ("warmup", "every", "unit", "scope", "scale")},
            "ids": self._ids,
        }

    def _rule_after(self, epoch: int, **policy: Any) -> rrm_core.Rule:
        share, price = (
            None if given is None else schedule.value(given, epoch) for given in (self.contamination, self.gamma)
        )
        return rrm_core.Rule(share, price, **policy)

    def _new_recorder(self) -> LossBuffer:
        layout = self._layout
        return LossBuffer(layout.begin, layout.end, counting=self.unit == "epoch", waiting=layout.size > 1)

    def _misfit(self, losses: object) -> Exception | None:
        """Return what is wrong with losses given to `step`."""
        held = self._layout.held
        if losses is None:
            return None
        if not isinstance(losses, Tensor):
            return TypeError(f"losses must be a tensor, got {type(losses).__name__}; rrm_torch.score gives one")
        if self.scope == "batch":
            return ValueError("losses can't be given with scope='batch': each batch is weighed by its own")
        if self.due and losses.shape != (held,):
            return ValueError(f"losses must have shape ({held},), one per sample, got {tuple(losses.shape)}")
        return None

    def _reweight(self, losses: Tensor) -> rrm_core.Plan:
        self.to(losses.device)
        planned, epoch = losses.detach().to(torch.float32, copy=True), self.epoch + 1
        rule, mu = self._rule_after(epoch, **self._policy), schedule.value(self.mu, epoch)
        weights, plan = self._layout.reweight(planned, self._weights, mu, _arguments(rule))
        pruned = ~(planned <= plan.threshold)  # NaN too
        entry = self.trajectory.record(epoch, planned, weights, pruned, plan)
        self._weights, self._plan, self._losses = weights, plan, planned
        received = f"{plan.n_recipients} of {self.n} samples received the mass of {plan.n_pruned} pruned ones"
        self._warn_of_weight(entry, f"{received}, and may outweigh a batch")
        return plan

    def _warn_of_weight(self, entry: Reweight, why: str) -> None:
        if entry.largest_weight > self.weight_limit and not self._warned_of_weight:
            self._warned_of_weight = True
            warnings.warn(
                f"a sample's weight is {entry.largest_weight:,.0f}, above weight_limit={self.weight_limit:g}: {why}; "
                "redistribute='kept', or a fraction such as 0.1, spreads it",
                stacklevel=4,
            )

    def _batch_weights(self, losses: Tensor) -> Tensor:
        if self.epoch < self.warmup or not len(losses):
            return torch.ones_like(losses)
        weights, _ = rrm_core.reweight(losses, **_arguments(self._rule_after(self.epoch, **self._policy)))
        return weights  # type: ignore[no-any-return]

    def _end_of_batches(self) -> None:
        """End an epoch in which each batch had its own threshold."""
        faults.raise_on_all(self._buffer, self._layout)
        seen = self._buffer.times_seen > 0
        self._buffer.restart()
        losses = torch.where(seen, self._buffer.losses, torch.nan)
        n_nan = int((losses.isnan() & seen).count_nonzero())
        if n_nan and self._policy["nan"] == "raise":  # a plan on a GPU, which nobody read, couldn't
            raise ValueError(f"losses contain NaN: {n_nan} since the last step; nan='prune' prunes them")
        self.epoch, self._losses = self.epoch + 1, losses
        if self.epoch > self.warmup:
            entry = self.trajectory.record(self.epoch, losses, self._weights, (self._weights == 0) & seen)
            self._warn_of_weight(entry, "it received the mass of what was pruned from its batch")


def _require_batch(losses: Tensor, index: Tensor) -> None:
    """Raise unless these are the losses of a batch, and its samples' indices."""
    given: object = index  # NumPy arrays and lists do come this way
    kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
    if kind not in (torch.int64, torch.int32):
        raise TypeError(f"index must be a tensor of int64, got {kind}; rrm_torch.Indexed makes a loader yield one")
    if losses.ndim != 1 or index.shape != losses.shape:
        raise ValueError(
            "losses and index must both have shape (batch,), "
            f"got {tuple(losses.shape)} and {tuple(index.shape)}; compute the loss with reduction='none', and pool "
            "several losses of one sample with rrm_torch.losses.pool"
        )


def _with_one_nan(losses: Tensor) -> Tensor:
    """Return a copy in which every NaN has the same bits, since those of a processor's own depend on where it arose."""
    return torch.where(losses.isnan(), torch.nan, losses)


def _arguments(rule: rrm_core.Rule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in ("contamination", "gamma", "redistribute", "ties", "nan")}


def _choice(name: str, given: object, kind: Any) -> Any:
    if given not in get_args(kind):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(kind)))}, got {given!r}")
    return given
