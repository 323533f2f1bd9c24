"""Early-learning regularisation, a loss with a part that is free of the label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .._models import to_device
from .per_sample import Parts, cross_entropy

CLAMP = 1e-4  # keeps the logarithm of 1 - <q, p> above -9.3


class ELR:
    """Cross-entropy, held back from memorising by what the model said of each sample earlier [1]_.

    The label part is the cross-entropy; the free part is ``weight * log(1 - <q_i, p_i>)``. There, p_i is the softmax of
    the outputs, clamped to [1e-4, 1 - 1e-4], and q_i its moving average, updated before use at each call of `parts`:
    ``q_i <- beta q_i + (1 - beta) p_i / sum p_i``, without gradient, and 0 at first.

    Parameters
    ----------
    n : int
        Number of training samples. A sample is known by its index in [0, n).
    n_classes : int
        Number of classes, at least 2.
    beta : float in [0, 1), default 0.7
        Memory of the average. The paper has .7 for CIFAR-10 and .9 for CIFAR-100.
    weight : float, at least 0, default 3.0
        Weight of the free part. The paper has 3 for CIFAR-10 and 7 for CIFAR-100.

    Raises
    ------
    ValueError
        An argument has the wrong value.

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
        self.n, self.n_classes, self.beta, self.weight = int(n), int(n_classes), float(beta), float(weight)
        self._targets = torch.zeros(self.n, self.n_classes)

    @property
    def targets(self) -> Tensor:
        """The averages q: float32, shape (n, n_classes). The state itself, not a copy; rows not yet seen are 0.

        Where the largest entry isn't the given label, the label is suspicious.
        """
        return self._targets

    def label(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the cross-entropy of each sample; parameters and errors are those of `losses.cross_entropy`."""
        return cross_entropy(outputs, y)

    def parts(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Parts:
        """Return both parts for a batch, and update the averages of its samples.

        Parameters
        ----------
        model : nn.Module
            Gives logits, shape (batch, n_classes); used in the mode it is in.
        x, y : Tensor, shapes (batch, ...)
            Inputs and labels.
        index : Tensor of int64, shape (batch,)
            The samples' indices in the training set, each once.

        Returns
        -------
        Parts
            Of shape (batch,), at least float32.

        Raises
        ------
        ValueError
            Outputs or index have the wrong shape.
        IndexError
            An index lies outside [0, n): from torch, on the CPU.
        """
        outputs = model(x)
        if outputs.shape != (len(index), self.n_classes):
            raise ValueError(
                f"outputs must have shape {(len(index), self.n_classes)} for {len(index)} indices and ELR's n_classes, "
                f"got {tuple(outputs.shape)}"
            )
        label = self.label(outputs, y)
        p = outputs.to(label.dtype).softmax(1).clamp(CLAMP, 1 - CLAMP)
        return Parts(label, self.weight * torch.log1p(-(self._updated(p, index) * p).sum(1)))

    @torch.no_grad()
    def _updated(self, p: Tensor, index: Tensor) -> Tensor:
        """Move the averages of the samples towards p; return those, in p's type."""
        self._targets = to_device(self._targets, p.device)  # free once there
        index = to_device(index, p.device).long()
        # index_select and index_copy_, unlike brackets, take no negative index for one from the end.
        old = self._targets.index_select(0, index)
        new = self.beta * old + (1 - self.beta) * (p / p.sum(1, keepdim=True)).to(old.dtype)
        self._targets.index_copy_(0, index, new)
        return new.to(p.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return settings and averages: a tensor and numbers, fit for ``torch.save``."""
        return {"settings": self._settings(), "targets": self._targets.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from `state_dict`.

        Parameters
        ----------
        state : dict
            From an ELR with the same settings.

        Raises
        ------
        ValueError
            The settings differ, or an entry is missing or has another shape. The state is as before the call.
        """
        missing = {"settings", "targets"} - state.keys()
        if missing:
            raise ValueError(f"state lacks {', '.join(sorted(missing))}; pass what ELR.state_dict() returned")
        there, here = state["settings"], self._settings()
        differing = [
            f"{name} is {there.get(name)!r} there and {here[name]!r} here"
            for name in here
            if there.get(name) != here[name]
        ]
        if differing:
            raise ValueError(f"state was saved by an ELR with other settings: {', '.join(differing)}")
        if state["targets"].shape != self._targets.shape:
            raise ValueError(
                f"state's targets must have shape {tuple(self._targets.shape)}, got {tuple(state['targets'].shape)}"
            )
        self._targets = state["targets"].detach().to(self._targets.device, torch.float32, copy=True)

    def __repr__(self) -> str:
        return f"ELR({', '.join(f'{name}={value!r}' for name, value in self._settings().items())})"

    def _settings(self) -> dict[str, Any]:
        return {"n": self.n, "n_classes": self.n_classes, "beta": self.beta, "weight": self.weight}
