"""Early-learning regularization (ELR): cross-entropy with a regularizer that uses earlier predictions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._checks import is_dense
from .._models import to_device
from .per_sample import cross_entropy
from .regularized import LossParts
from .targets import check_logits

CLAMP = 1e-4
"""Bounds probabilities away from 0 and 1, so that log(1 - <q, p>) stays above -9.3."""


class ELR:
    """Cross-entropy with a regularizer that pulls predictions towards their moving average [1]_.

    The label loss is the cross-entropy, the regularizer ``weight * log(1 - <q_i, p_i>)``: p_i is the softmax of the
    outputs, clamped to [1e-4, 1 - 1e-4], and q_i its moving average. Each call of `parts` first updates the average,
    without gradient: ``q_i <- beta q_i + (1 - beta) p_i / sum p_i``, starting from 0.

    Parameters
    ----------
    n : int
        Number of training samples. Their indices are 0 to n - 1.
    n_classes : int
        Number of classes, at least 2.
    beta : float in [0, 1), default 0.7
        Decay of the moving average. The paper uses 0.7 for CIFAR-10 and 0.9 for CIFAR-100.
    weight : float, at least 0, default 3.0
        Weight of the regularizer. The paper uses 3 for CIFAR-10 and 7 for CIFAR-100.

    Raises
    ------
    ValueError
        An argument is outside its range.

    References
    ----------
    .. [1] Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
       Labels", NeurIPS 2020.
    """

    def __init__(self, n: int, n_classes: int, *, beta: float = 0.7, weight: float = 3.0) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}; it is the number of training samples")
        if n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, got {n_classes}")
        if not 0 <= beta < 1:
            raise ValueError(f"beta must lie in [0, 1), got {beta}")
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be finite and at least 0, got {weight}")
        self.n = int(n)
        self.n_classes = int(n_classes)
        self.beta = float(beta)
        self.weight = float(weight)
        # A state that outlives inference mode and does not depend on torch's defaults.
        with torch.inference_mode(False):
            self._targets = torch.zeros(self.n, self.n_classes, dtype=torch.float32, device="cpu")

    @property
    def targets(self) -> Tensor:
        """The moving averages q: float32, shape (n, n_classes), 0 for samples without an update; not a copy.

        A label that differs from the class of its row's largest entry is suspicious.
        """
        return self._targets

    def label_loss(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy of each sample, shape (batch,); see `rrm_torch.cross_entropy`."""
        return cross_entropy(outputs, y)

    def parts(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> LossParts:
        """Update the moving averages of a batch's samples, and return both parts of its losses.

        Parameters
        ----------
        model : nn.Module
            Returns logits, shape (batch, n_classes); used in its current mode.
        x, y : Tensor, shapes (batch, ...)
            Inputs and labels.
        index : Tensor of int64, shape (batch,)
            The samples' indices in the training set, without repeats.

        Returns
        -------
        LossParts
            Of shape (batch,), at least float32.

        Raises
        ------
        TypeError
            The model's outputs or the labels have the wrong type.
        ValueError
            The outputs, the labels or `index` have the wrong shape.
        IndexError
            An index is outside [0, n), or a class is out of range; on the CPU.
        """
        outputs = check_logits(model(x))
        if outputs.shape != (len(index), self.n_classes):
            raise ValueError(
                f"outputs must have shape {(len(index), self.n_classes)} for {len(index)} indices and ELR's n_classes, "
                f"got {tuple(outputs.shape)}"
            )
        losses = self.label_loss(outputs, y)
        p = outputs.to(losses.dtype).softmax(1).clamp(CLAMP, 1 - CLAMP)
        q = self._update_targets(p, index)
        return LossParts(losses, self.weight * torch.log1p(-(q * p).sum(1)), outputs)

    @torch.inference_mode(False)
    @torch.no_grad()
    def _update_targets(self, p: Tensor, index: Tensor) -> Tensor:
        """Update the moving averages of the samples with p, and return them in p's type."""
        self._targets = to_device(self._targets, p.device)
        index = to_device(index, p.device).long()
        # Unlike indexing with brackets, index_select and index_copy_ raise on negative indices.
        old = self._targets.index_select(0, index)
        new = self.beta * old + (1 - self.beta) * (p / p.sum(1, keepdim=True)).to(old.dtype)
        self._targets.index_copy_(0, index, new)
        return new.to(p.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return the settings and the moving averages: numbers and a tensor, for ``torch.save``."""
        return {"settings": self._settings(), "targets": self._targets.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state returned by `state_dict`.

        Parameters
        ----------
        state : dict
            From an ELR with the same settings.

        Raises
        ------
        ValueError
            The settings differ, or an entry is missing, has the wrong type or shape, or isn't an average of
            probabilities. The state is left unchanged.
        """
        untrusted: Any = state
        missing = {"settings", "targets"} - (untrusted.keys() if isinstance(untrusted, dict) else set())
        if missing:
            raise ValueError(f"state lacks {', '.join(sorted(missing))}; pass what ELR.state_dict() returned")
        self._check_settings(state["settings"])
        self._check_targets(state["targets"])
        # A tensor made in inference mode could not be updated outside it.
        with torch.inference_mode(False):
            targets = state["targets"].detach().to(self._targets.device, copy=True)
        self._targets = targets

    def _check_settings(self, saved: Any) -> None:
        """Raise ValueError if settings from a state aren't those of this object."""
        if not isinstance(saved, dict):
            raise ValueError(f"state's settings must be a dict, got {type(saved).__name__}")
        differences = [
            f"{name} is {saved.get(name)!r} in the state and {value!r} here"
            for name, value in self._settings().items()
            if type(saved.get(name)) is not type(value) or saved[name] != value
        ]
        if differences:
            raise ValueError(f"state was saved by an ELR with other settings: {', '.join(differences)}")

    def _check_targets(self, targets: Any) -> None:
        """Raise ValueError unless targets from a state can be those of this object."""
        if not is_dense(targets, (torch.float32,)):
            raise ValueError("state's targets must be a dense tensor of float32; pass what ELR.state_dict() returned")
        if targets.shape != self._targets.shape:
            raise ValueError(
                f"state's targets must have shape {tuple(self._targets.shape)}, got {tuple(targets.shape)}"
            )
        # NaN is what outputs that are NaN leave.
        if bool(((targets < 0) | (targets > 1)).any()):
            raise ValueError("state's targets must lie in [0, 1], as averages of probabilities; the file is damaged")

    def __repr__(self) -> str:
        return f"ELR({', '.join(f'{name}={value!r}' for name, value in self._settings().items())})"

    def _settings(self) -> dict[str, Any]:
        return {"n": self.n, "n_classes": self.n_classes, "beta": self.beta, "weight": self.weight}
