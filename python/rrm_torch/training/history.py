"""The history of a training run, one entry per epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

import rrm_core

from ..weighting.base import BaseRRM

WEIGHT_EDGES = (0.0, 0.05, 0.5, 0.95, 1.05, 1.5, 2.0, 10.0, float("inf"))
"""Bin edges of weight histograms. The first bin holds weights near 0, the fourth the nominal weight 1.

A bin includes its lower edge and excludes its upper edge.
"""


@dataclass(frozen=True)
class Group:
    """Statistics of the weights of a group of samples.

    Attributes
    ----------
    mean_weight : float
        Mean sample weight; 1 is nominal.
    pruned : float
        Share of the samples that the last reweight pruned.
    histogram : tuple of int
        Number of samples in each bin of `WEIGHT_EDGES`. The paper's Table 6 shows such histograms of clean and wrong
        labels.
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
        Mean unweighted training loss, with the training labels.
    accuracy : float
        On the test set, in [0, 1].
    threshold : float or None
        Threshold of the last reweight; None before the first one, with a threshold for each group, or without RRM.
    groups : dict of str to Group
        ``"clean"`` and ``"wrong"`` if the wrong labels are known, otherwise ``"all"``; empty without RRM.
    """

    epoch: int
    loss: float
    accuracy: float
    threshold: float | None = None
    groups: dict[str, Group] = field(default_factory=dict)


class History:
    """One entry per epoch of a training run; can be saved in a `Checkpoint`.

    Parameters
    ----------
    wrong : bool array of shape (n,), optional
        Which training labels are wrong, if known.

    Attributes
    ----------
    epochs : list of Epoch
    """

    def __init__(self, wrong: npt.NDArray[np.bool_] | None = None) -> None:
        self._wrong = wrong
        self.epochs: list[Epoch] = []

    def record(self, epoch: int, loss: float, accuracy: float, rrm: BaseRRM | None = None) -> None:
        """Append an epoch.

        Parameters
        ----------
        epoch : int
            Counted from 1.
        loss : float
            Mean unweighted training loss.
        accuracy : float
            On the test set, in [0, 1].
        rrm : RRM, optional
            After its step at the end of the epoch.

        Raises
        ------
        ValueError
            `rrm` has a sharded layout, where each rank holds only a slice of the weights.
        """
        threshold = None
        groups = {}
        if rrm is not None:
            if rrm.layout == "sharded":
                raise ValueError("rrm has layout='sharded': each rank holds a slice of its weights; record without rrm")
            if isinstance(rrm.plan, rrm_core.Plan):
                threshold = rrm.plan.threshold
            groups = {name: _group(rrm, mask) for name, mask in self.members(rrm.n).items()}
        self.epochs.append(Epoch(epoch, loss, accuracy, threshold, groups))

    def state_dict(self) -> dict[str, Any]:
        """Return the epochs as dictionaries of numbers and strings."""
        return {"epochs": [asdict(epoch) for epoch in self.epochs]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the epochs returned by `state_dict`.

        Raises
        ------
        ValueError
            An entry is missing, or has the wrong type or value. The epochs are left unchanged.
        """
        untrusted: Any = state
        entries = untrusted.get("epochs") if isinstance(untrusted, dict) else None
        if not isinstance(entries, list):
            raise ValueError("state lacks a list of epochs; pass what History.state_dict() returned")
        epochs: list[Epoch] = []
        try:
            epochs.extend(_epoch(entry) for entry in entries)
        except ValueError as error:
            raise ValueError(f"state's epochs[{len(epochs)}] is invalid: {error}") from error
        self.epochs = epochs

    def members(self, n: int) -> dict[str, npt.NDArray[np.bool_]]:
        """Return the groups of samples by name, as masks of shape (n,); empty groups are left out."""
        if self._wrong is None:
            return {"all": np.ones(n, dtype=bool)}
        masks = {"clean": ~self._wrong, "wrong": self._wrong}
        return {name: mask for name, mask in masks.items() if mask.any()}


def _group(rrm: BaseRRM, mask: npt.NDArray[np.bool_]) -> Group:
    """Return the statistics of a group's current weights."""
    pruned = rrm.trajectory.last.cpu().numpy()[mask]
    weights = rrm.weights.cpu().numpy()[mask]
    counts, _ = np.histogram(weights, WEIGHT_EDGES)
    return Group(float(weights.mean(dtype=np.float64)), float(pruned.mean()), tuple(counts.tolist()))


def _epoch(entry: Any) -> Epoch:
    """Return an epoch from a state; raise ValueError unless it is one that `record` could have made."""
    _check_fields(entry, Epoch)
    if not isinstance(entry["groups"], dict):
        raise ValueError(f"groups must be a dict, got {type(entry['groups']).__name__}")
    groups = {}
    for name, group in entry["groups"].items():
        _check_fields(group, Group)
        if not isinstance(name, str):
            raise ValueError(f"names of groups must be strings, got {name!r}")
        _check_numbers(group, "mean_weight", "pruned")
        histogram = group["histogram"]
        if not isinstance(histogram, (tuple, list)) or any(type(count) is not int for count in histogram):
            raise ValueError(f"histogram of {name!r} must be a tuple of integers")
        groups[name] = Group(**{**group, "histogram": tuple(histogram)})
    if type(entry["epoch"]) is not int or not 1 <= entry["epoch"] < 2**53:
        raise ValueError(f"epoch must be an integer of at least 1, got {entry['epoch']!r}")
    _check_numbers(entry, "loss", "accuracy")
    if entry["threshold"] is not None:
        _check_numbers(entry, "threshold")
    return Epoch(**{**entry, "groups": groups})


def _check_fields(entry: Any, kind: type) -> None:
    """Raise ValueError unless `entry` is a dict with the fields of a dataclass."""
    names = {item.name for item in fields(kind)}
    if not isinstance(entry, dict) or entry.keys() != names:
        raise ValueError(f"it must have {', '.join(sorted(names))}")


def _check_numbers(entry: dict[str, Any], *names: str) -> None:
    for name in names:
        if type(entry[name]) not in (int, float):
            raise ValueError(f"{name} must be a number, got {entry[name]!r}")
