"""What happened in training, epoch by epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..weighting.rrm import RRM

WEIGHT_EDGES = (0.0, 0.05, 0.5, 0.95, 1.05, 1.5, 2.0, 10.0, float("inf"))
"""Where the intervals of a weight histogram begin and end: near zero, ..., nominal, ..., and what is out of proportion.

An interval holds its lower edge, but not its upper one.
"""


@dataclass(frozen=True)
class Group:
    """The weights of a group of samples.

    Attributes
    ----------
    mean_weight : float
        Mean sample weight; 1 is nominal.
    pruned : float
        Share of the samples that the last reweight pruned.
    histogram : tuple of int
        Samples by weight, in the intervals between `WEIGHT_EDGES`. With clean and wrong labels apart, this is how the
        paper shows what RRM did (its Table 6).
    """

    mean_weight: float
    pruned: float
    histogram: tuple[int, ...] = ()


@dataclass(frozen=True)
class Epoch:
    """One epoch.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    loss : float
        Mean unweighted training loss, against the labels as given.
    accuracy : float
        On the test set, in [0, 1].
    threshold : float or None
        Of the last reweight; None before the first, or without RRM.
    groups : dict of str to Group
        ``"clean"`` and ``"wrong"`` where the truth is known, ``"all"`` where not; empty without RRM.
    """

    epoch: int
    loss: float
    accuracy: float
    threshold: float | None = None
    groups: dict[str, Group] = field(default_factory=dict)


class History:
    """Collects epochs.

    Parameters
    ----------
    wrong : bool array of shape (n,), optional
        Which labels are wrong, where the truth is known.
    """

    def __init__(self, wrong: npt.NDArray[np.bool_] | None = None) -> None:
        self._wrong = wrong
        self.epochs: list[Epoch] = []

    def record(self, epoch: int, loss: float, accuracy: float, rrm: RRM | None = None) -> None:
        """Add an epoch; with `rrm`, after its step. A ValueError where each rank has a slice of its weights."""
        if rrm is not None and rrm.layout == "sharded":
            raise ValueError("rrm has layout='sharded', and on each rank a slice of its weights; record without rrm")
        threshold = None if rrm is None or rrm.plan is None else rrm.plan.threshold
        groups = {} if rrm is None else {name: _group(rrm, members) for name, members in self.members(rrm.n).items()}
        self.epochs.append(Epoch(epoch, loss, accuracy, threshold, groups))

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs so far, as numbers and strings."""
        return {"epochs": [asdict(epoch) for epoch in self.epochs]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the epochs of a `state_dict`."""
        self.epochs = [
            Epoch(**{**entry, "groups": {name: Group(**group) for name, group in entry["groups"].items()}})
            for entry in state["epochs"]
        ]

    def members(self, n: int) -> dict[str, npt.NDArray[np.bool_]]:
        """Return the groups that are told apart, as masks over the n samples."""
        if self._wrong is None:
            return {"all": np.ones(n, dtype=bool)}
        return {name: mask for name, mask in (("clean", ~self._wrong), ("wrong", self._wrong)) if mask.any()}


def _group(rrm: RRM, members: npt.NDArray[np.bool_]) -> Group:
    pruned, weights = rrm.trajectory.last.cpu().numpy()[members], rrm.weights.cpu().numpy()[members]
    counts, _ = np.histogram(weights, WEIGHT_EDGES)
    return Group(float(weights.mean(dtype=np.float64)), float(pruned.mean()), tuple(counts.tolist()))
