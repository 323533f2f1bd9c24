"""RRM: the weights and losses of all samples, and the step that derives one from the other."""

from __future__ import annotations

import operator
import warnings
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor

import rrm_core

from . import schedule


class RRM:
    """Rockafellian Relaxation around any per-sample loss: one added line in the training loop, one after each epoch.

    Looks and behaves like a torch learning-rate scheduler: `step`, `state_dict`, `load_state_dict`.

    Parameters
    ----------
    n : int
        Number of training samples. A sample is known by its index in [0, n).
    contamination : float in [0, 1)
        The estimated share of wrong labels: this share of the samples, those with the highest losses, is pruned at each
        reweight. Rather too low than too high. Give this or `gamma`.
    gamma : float, at least 0
        The price of leaving the uniform distribution, in units of the loss: samples more than `gamma` above the
        smallest loss are pruned.
    mu : float in (0, 1], default 1
        Step from the current weights to the new ones.
    warmup : int, default 10
        Epochs of plain training before the first reweight. Before the model has learnt anything, its losses say
        nothing about the labels; long after, it has learnt the wrong ones too.
    every : int, default 1
        Epochs from one reweight to the next.
    redistribute : {"kept", "argmin", "drop"} or float in (0, 1], default "kept"
        Who receives the mass of the pruned samples, as in `rrm_core.reweight`. The paper's ``"argmin"`` may hand all of
        it to a single sample, early in training; ``"kept"`` never does.
    ties : {"keep", "share"}, default "keep"
        What happens on the threshold, as in `rrm_core.reweight`. Bounded losses, such as the mean absolute error, want
        ``"share"``; samples that only gave up a share are not among the `flagged`.
    nan : {"raise", "prune"}, default "raise"
        Refuse NaN among the losses, or prune those samples.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

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
        contamination: float | None = None,
        gamma: float | None = None,
        mu: float = 1.0,
        warmup: int = 10,
        every: int = 1,
        redistribute: Literal["kept", "argmin", "drop"] | float = "kept",
        ties: Literal["keep", "share"] = "keep",
        nan: Literal["raise", "prune"] = "raise",
    ) -> None:
        self.n, self.warmup, self.every = _count("n", n), _count("warmup", warmup), _count("every", every)
        rule = rrm_core.Rule(contamination, gamma, redistribute, ties, nan)
        rrm_core.reweight([0.0], gamma=0, mu=mu)  # a wrong mu shall not wait for the first reweight
        self.mu = float(mu)
        self._rule: dict[str, Any] = asdict(rule)  # plain numbers, also where NumPy's were given
        self.epoch = 0
        n = self.n
        self._weights, self._losses = torch.ones(n), torch.full((n,), torch.nan)
        self._recorded, self._times_seen = torch.zeros(n), torch.zeros(n, dtype=torch.int32)
        self._plan: rrm_core.Plan | None = None
        self._warned = False

    @property
    def weights(self) -> Tensor:
        """Current sample weights: float32, shape (n,), all 1 before the first reweight. The state itself, not a copy.

        Their mean is 1; with ``redistribute="drop"`` it falls below.
        """
        return self._weights

    @property
    def losses(self) -> Tensor:
        """The losses behind the last reweight: float32, shape (n,); NaN before the first."""
        return self._losses

    @property
    def plan(self) -> rrm_core.Plan | None:
        """Threshold and counts of the last reweight; None before the first."""
        return self._plan

    @property
    def due(self) -> bool:
        """Whether the next `step` reweights."""
        return schedule.due(self.epoch + 1, warmup=self.warmup, every=self.every)

    def weighted_mean(self, losses: Tensor, index: Tensor) -> Tensor:
        """Return the mean of a batch's losses times their weights, and record the losses for the next `step`.

        Parameters
        ----------
        losses : Tensor, shape (batch,)
            One loss per sample, with ``reduction="none"``.
        index : Tensor of int64, shape (batch,)
            The samples' indices in the training set.

        Returns
        -------
        Tensor, shape ()
            ``(weights[index] * losses).mean()``, to call ``backward()`` on.

        Raises
        ------
        TypeError
            `index` isn't a tensor of integers.
        ValueError
            `losses` isn't one-dimensional, or `index` of another length.
        IndexError
            An index lies outside [0, n).
        """
        given: object = index  # NumPy arrays and lists do come this way
        kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
        if kind not in (torch.int64, torch.int32):
            raise TypeError(f"index must be a tensor of int64, got {kind}; rrm_torch.Indexed makes a loader yield one")
        if losses.ndim != 1 or index.shape != losses.shape:
            raise ValueError(
                "losses and index must both have shape (batch,), "
                f"got {tuple(losses.shape)} and {tuple(index.shape)}; compute the loss with reduction='none'"
            )
        outside = (index < 0) | (index >= self.n)
        if outside.any():
            raise IndexError(
                f"index must lie in [0, {self.n}), got {int(outside.sum())} of {len(index)} outside, "
                f"the first {int(index[outside][0])}; make RRM with the number of training samples"
            )
        self._to(losses.device)
        index = index.to(losses.device, torch.int64)
        self._recorded[index] = losses.detach().float()
        self._times_seen.index_add_(0, index, torch.ones_like(index, dtype=torch.int32))
        return (self._weights[index] * losses).mean()

    def step(self, losses: Tensor | None = None) -> rrm_core.Plan | None:
        """End an epoch; reweight if that is due.

        Parameters
        ----------
        losses : Tensor, shape (n,), optional
            The losses of all samples, as `rrm_torch.score` gives them: the paper's way. By default those that
            `weighted_mean` recorded during the epoch, which costs no extra pass.

        Returns
        -------
        Plan or None
            The reweight's threshold and counts; None if none was due.

        Raises
        ------
        ValueError
            A reweight is due but a sample was not seen, or more than once, since the last step; or `losses` don't fit.
            Weights, losses and epoch are as before the call.

        Warns
        -----
        UserWarning
            No reweight is due yet, but at the next due one this epoch's losses would be refused. Said once.
        """
        faults = self._faults() if losses is None and (self.due or not self._warned) else None
        recorded = bool(self._times_seen.any())
        self._times_seen.zero_()  # whatever comes now, the next epoch begins afresh
        if faults and self.due:
            raise ValueError(faults)
        if faults and recorded:
            self._warned = True
            warnings.warn(f"{faults}. No reweight is due yet", stacklevel=2)
        plan = self._reweight(self._recorded if losses is None else losses) if self.due else None
        self.epoch += 1
        return plan

    def flagged(self) -> Tensor:
        """Return the samples that the last reweight pruned, the most suspicious (highest loss) first.

        Returns
        -------
        Tensor of int64, shape (n_pruned,)
            Indices; empty before the first reweight.
        """
        if self._plan is None:
            return torch.empty(0, dtype=torch.int64, device=self._losses.device)
        order = torch.argsort(self._losses, descending=True, stable=True)
        return order[: self._plan.n_pruned]

    def state_dict(self) -> dict[str, Any]:
        """Return the state at the end of an epoch: tensors, numbers and strings, fit for ``torch.save``."""
        return {
            "settings": self._settings(),
            "epoch": self.epoch,
            "weights": self._weights.clone(),
            "losses": self._losses.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from `state_dict`.

        Parameters
        ----------
        state : dict
            From an RRM with the same number of samples and the same settings.

        Raises
        ------
        ValueError
            The settings differ, or an entry is missing; the message says which. The state is as before the call.
        """
        missing = {"settings", "epoch", "weights", "losses"} - state.keys()
        if missing:
            raise ValueError(f"state lacks {', '.join(sorted(missing))}; pass what RRM.state_dict() returned")
        there, here = state["settings"], self._settings()
        differing = [name for name in here if there.get(name) != here[name]]
        if differing:
            raise ValueError(
                "state was saved by an RRM with other settings: "
                + ", ".join(f"{name} is {there.get(name)!r} there and {here[name]!r} here" for name in differing)
            )
        for name in ("weights", "losses"):
            if state[name].shape != (self.n,):
                raise ValueError(f"state's {name} must have shape ({self.n},), got {tuple(state[name].shape)}")
        device = self._weights.device
        weights, losses = (state[name].detach().to(device, torch.float32, copy=True) for name in ("weights", "losses"))
        # What was planned once can be planned again, to the same bits; before the first reweight all losses are NaN.
        plan = None if losses.isnan().all() else rrm_core.plan(losses, **self._rule)
        self.epoch, self._weights, self._losses, self._plan = state["epoch"], weights, losses, plan
        self._times_seen.zero_()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items() if value is not None)
        pruned = "" if self._plan is None else f", pruned={self._plan.n_pruned}"
        return f"RRM({settings}; epoch={self.epoch}{pruned})"

    def _settings(self) -> dict[str, Any]:
        return {"n": self.n, **self._rule, "mu": self.mu, "warmup": self.warmup, "every": self.every}

    def _faults(self) -> str | None:
        """Return what keeps the recorded losses from being those of one epoch."""
        unseen, repeated = self._times_seen == 0, self._times_seen > 1
        found = [
            f"{int(mask.sum())} {what} (the first: index {int(mask.nonzero()[0])})"
            for mask, what in ((unseen, "missing"), (repeated, "seen more than once"))
            if mask.any()
        ]
        if not found:
            return None
        return (
            f"of the {self.n} samples, since the last step, {' and '.join(found)}: a loader with drop_last=True, a "
            "sampler with replacement or an epoch broken off does that. Visit each sample once, or pass "
            "step(score(model, loader))"
        )

    def _reweight(self, losses: Tensor) -> rrm_core.Plan:
        if losses.shape != (self.n,):
            raise ValueError(f"losses must have shape ({self.n},), one per sample, got {tuple(losses.shape)}")
        self._to(losses.device)
        planned = losses.detach().to(torch.float32, copy=True)
        self._weights, self._plan = rrm_core.reweight(planned, self._weights, mu=self.mu, **self._rule)
        self._losses = planned
        return self._plan

    def _to(self, device: torch.device) -> None:
        """Follow the losses to their device; free once there."""
        if self._weights.device != device:
            self._weights, self._losses = self._weights.to(device), self._losses.to(device)
            self._recorded, self._times_seen = self._recorded.to(device), self._times_seen.to(device)


def _count(name: str, value: object) -> int:
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if isinstance(value, bool) or count < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return count
