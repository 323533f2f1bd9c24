"""RRMCallback: the callback that scores the samples and sets their weights."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy.typing as npt

from rrm_core._atomic_write import resolve_output

from .dataset import RRMDataset
from .losses import SampleLoss
from .results import RunResults
from .run import Run, RunState, begin
from .scoring import score, score_batch
from .settings import AUTO, Auto, Redistribute, Ties, make_settings
from .state import load_states, save_states


class RRMCallback(RunResults, keras.callbacks.Callback):
    """Weights of RRM for the samples of a data set: those whose loss is highest after an epoch are pruned.

    Parameters
    ----------
    data : RRMDataset
        What ``model.fit`` is given.
    contamination : "auto", float in [0, 1), or array of shape (n_groups,), default "auto"
        The share of wrong labels, which each reweight prunes; ``"auto"`` estimates it at the end of the warm-up. With
        `groups`, an array has a share for each group.
    warmup : int or "auto", optional
        Epochs of training before the first reweight. ``"auto"`` ends when predictions no longer agree more often with
        the labels of samples held out, after a third of the run at the latest. The default is ``"auto"`` with
        ``contamination="auto"``, and otherwise a third of the run, at most 10.
    every : int, default 1
        Epochs from one reweight to the next.
    mu : float in (0, 1], default 1
        Step size from the previous weights to their targets.
    redistribute : {"kept", "argmin", "drop"} or float in (0, 1], default "kept"
        The recipients of the pruned mass, see `rrm_core.reweight`.
    ties : {"keep", "share"}, default "keep"
        Samples whose loss equals the threshold, see `rrm_core.reweight`.
    groups : array of integers, shape (n,), or rrm_core.Groups, optional
        The group of each sample, such as its class or source; with a `cap`, or a contamination for each group.
    cap : float in [0, 1), or array of shape (n_groups,), optional
        The largest share of a group that is pruned.
    seed : int, default 0
        Which samples the warm-up holds out, see Notes.
    loss : str, keras.losses.Loss or callable, optional
        By default the loss that the model is compiled with. A function of (y_true, y_pred) gets tensors, and returns
        one number per sample.
    state_path : path, optional
        A file for the state, written after each epoch. A run that `keras.callbacks.BackupAndRestore` resumes, or one
        with ``initial_epoch``, goes on with it.

    Attributes
    ----------
    weights, losses : float32 array of shape (n,)
        The current weights, and the losses behind the last reweight: NaN before.
    plan : rrm_core.Plan, rrm_core.GroupedPlan or None
        Threshold and counts of the last reweight.
    estimate : rrm_core.ContaminationEstimate or None
        Made at the end of a warm-up that holds out samples.
    epoch : int
        Epochs that have ended.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value; or, in ``fit``, the loss can't be had for each sample, ``"auto"`` is
        given and outputs aren't classes, or the run begins with an epoch for which there is no state.

    Warns
    -----
    UserWarning
        The run is too short for a reweight, or has ended without one; the estimate can hardly be right; or the first
        batch of a PyDataset has other targets each time it is read.

    Notes
    -----
    Losses are computed in float32, in a pass over all samples in inference mode after each epoch of an ``"auto"``
    warm-up and before each reweight. Validation changes nothing. Terms of ``add_loss`` and regularizers are not part of
    the loss of a sample, and not weighted.

    A warm-up with ``contamination="auto"`` or ``warmup="auto"`` holds out 15 % of the samples: their weight is 0. The
    estimate is that of `rrm_core.estimate_contamination`, of predictions after up to three epochs. The first reweight
    plans over the other samples, and gives those held out weight 1.

    Each ``fit`` from epoch 0 begins anew. During an epoch the generator of Python's `random`, by which ``fit`` shuffles
    batches, is seeded by the number of the epoch; its state is restored afterwards.

    References
    ----------
    .. [1] Chen, Chern, Eckstrand, Mahapatra, Royset, "Enhancing Learning with Noisy Labels via Rockafellian
       Relaxation", ICLR 2026, arXiv:2405.20531.

    Examples
    --------
    >>> import keras
    >>> import numpy as np
    >>> from rrm_keras import RRMCallback, RRMDataset
    >>> x = np.arange(8, dtype="float32")[:, np.newaxis]
    >>> y = 2 * x[:, 0]
    >>> y[3] = 60
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> data = RRMDataset(x, y)
    >>> rrm = RRMCallback(data, contamination=0.2, warmup=1)
    >>> history = model.fit(data, epochs=2, callbacks=[rrm], verbose=0)
    >>> rrm.flagged()
    array([3])
    """

    def __init__(
        self,
        data: RRMDataset,
        contamination: float | Sequence[float] | npt.NDArray[Any] | Auto = AUTO,
        *,
        warmup: int | Auto | None = None,
        every: int = 1,
        mu: float = 1.0,
        redistribute: Redistribute = "kept",
        ties: Ties = "keep",
        groups: Any = None,
        cap: float | npt.ArrayLike | None = None,
        seed: int = 0,
        loss: str | keras.losses.Loss | Callable[[Any, Any], Any] | None = None,
        state_path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(data, RRMDataset):
            raise TypeError(f"data must be an RRMDataset, which fit is given too, got {type(data).__name__}")
        self.data = data
        self._settings = make_settings(
            data.n,
            contamination=contamination,
            warmup=warmup,
            every=every,
            mu=mu,
            redistribute=redistribute,
            ties=ties,
            groups=groups,
            cap=cap,
            seed=seed,
        )
        self._given_loss = loss
        self._state_path = state_path
        if state_path is not None:
            resolve_output(state_path, "state_path")
        self._run: Run | None = None
        self._loss: SampleLoss | None = None
        self._state = self._set(begin(self._settings))
        self._random_state: Any = None
        self._n_uses = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check that the model's loss can be had for each sample."""
        loss = self.model.loss if self._given_loss is None else self._given_loss
        self._loss = SampleLoss(loss)
        score_batch(self.model, self.data, 0, self._loss, self._reason)
        if not self.data.keeps_order():
            warnings.warn(
                "the first batch of the PyDataset has other targets each time it is read: a weight belongs to the "
                "sample at a position of a batch; shuffle by RRMDataset(..., shuffle=True), and don't mix targets",
                UserWarning,
                stacklevel=2,
            )
        self._run = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin or resume the run with its first epoch."""
        if self._run is None:
            self._begin(epoch)
        self.data.epoch = epoch
        self._n_uses = self.data.n_uses
        self._random_state = random.getstate()
        # The order in which fit shuffles the batches depends on the epoch alone, also in a resumed run.
        random.seed(f"{self.data.seed},{epoch}")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reweight, if it is due, and save the state."""
        random.setstate(self._random_state)
        if self.data.n_uses == self._n_uses:
            raise ValueError(
                "the data set of RRMCallback was not used for training: call model.fit(data, ...) with the RRMDataset "
                "that RRMCallback(data) was given"
            )
        self._end_epoch()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Warn if the run has ended before the first reweight."""
        run = self._run
        if run is not None and not self._state.n_reweights and self.epoch < run.epochs:
            warnings.warn(
                f"the run has ended after epoch {self.epoch} of {run.epochs}, and the first reweight was to follow "
                f"epoch {run.earliest_reweight} at the earliest: no sample was pruned",
                UserWarning,
                stacklevel=2,
            )

    @property
    def _reason(self) -> str | None:
        """The setting that needs predictions; None if none does."""
        return self._settings.reason_for_predictions if self._settings.needs_predictions else None

    def _begin(self, epoch: int) -> None:
        """Begin the run with epoch 0, or resume it with a later one."""
        epochs = int(self.params["epochs"])
        run = Run(self._settings, epochs, int(self.params.get("steps") or len(self.data)))
        self._run = run
        if epoch == 0:
            self._set(begin(self._settings))
            self._save([self._state])
            run.warn_of_end()
            return
        states = [self._state]
        if self._state_path is not None:
            states = load_states(self._state_path, self._settings) or states
        for state in states:
            if state.epoch == epoch:
                self._restore(state)
                return
        if self._state_path is not None and states[0].epoch == epoch - 1:
            # The process was killed after the model of the epoch was saved, and before this state was.
            self._restore(states[0])
            self._end_epoch()
            return
        raise ValueError(
            f"fit begins with epoch {epoch + 1}, and RRMCallback has no state of epoch {epoch}, but of epoch "
            f"{states[0].epoch}: give state_path=, by which a run is resumed, or begin with initial_epoch=0"
        )

    def _restore(self, state: RunState) -> None:
        """Go on with a state; a file has no plan."""
        assert self._run is not None
        self._set(replace(state, plan=self._run.plan_again(state)))

    def _end_epoch(self) -> None:
        """Score the samples if it is needed, reweight if it is due, and save the state."""
        run = self._run
        assert run is not None
        assert self._loss is not None
        scores = None
        if run.needs_scores(self._state):
            reason = self._reason if self._state.warmup is not None else None
            scores = score(self.model, self.data, self._loss, reason)
        state = run.end_epoch(self._state, scores)
        previous = self._state
        self._set(state)
        self._save([state, previous])

    def _save(self, states: list[RunState]) -> None:
        if self._state_path is not None:
            save_states(self._state_path, self._settings, states)

    def _set(self, state: RunState) -> RunState:
        self._state = state
        self.data.weights = state.weights
        return state
