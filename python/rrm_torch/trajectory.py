"""The course of the reweights: what each round decided, and which samples it pruned."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import rrm_core


@dataclass(frozen=True)
class Round:
    """One reweight.

    Attributes
    ----------
    epoch : int
        The epoch that it followed, counted from 1; the step, where steps are counted.
    loss_min : float
        The smallest loss.
    threshold, gamma : float or None
        Losses above the threshold were pruned, and gamma is its distance from the smallest loss, or as given. None
        where each batch has a threshold of its own.
    n_pruned : int
        Samples pruned; by their number also the next three.
    n_entered : int
        Of these, not pruned in the round before.
    n_left : int
        Pruned in the round before, and no longer.
    n_returned : int
        Of those that entered, pruned in some round before the last.
    overlap : float or None
        Samples pruned in this round and the one before, over those pruned in either (Jaccard index); None in the first
        round, or where neither pruned any.
    largest_weight : float
        After smoothing.
    effective_sample_size : float
        Kish's, (sum w)**2 / sum w**2, of the weights after smoothing.
    objective : float or None
        ``mean(minimum(losses, threshold))``: the least expected loss plus price over all distributions, for the model
        as it is. None where there is no threshold, or it is infinite.
    """

    epoch: int
    loss_min: float
    threshold: float | None
    gamma: float | None
    n_pruned: int
    n_entered: int
    n_left: int
    n_returned: int
    overlap: float | None
    largest_weight: float
    effective_sample_size: float
    objective: float | None


class Trajectory:
    """Which samples were pruned when: one bit a sample and round, and a few numbers a round.

    Parameters
    ----------
    n : int
        Number of samples.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.rounds: list[Round] = []
        self._bits: list[Tensor] = []  # by round: uint8 on the host, the first sample in the highest bit
        self._last = torch.zeros(n, dtype=torch.bool)
        self._times = torch.zeros(n, dtype=torch.int32)
        self._rank_sum = torch.zeros(n)

    @property
    def last(self) -> Tensor:
        """The samples that the last round pruned: bool, shape (n,)."""
        return self._last

    @property
    def share_pruned(self) -> Tensor:
        """Share of the rounds that pruned a sample: float32, shape (n,), in [0, 1]; NaN before the first round."""
        return self._times / len(self.rounds)

    @property
    def mean_rank(self) -> Tensor:
        """A sample's loss rank, in the mean over the rounds: float32, shape (n,), from 0, lowest, to 1, highest.

        Losses that agree in the leading 16 of their 32 bits (to 0.8 %) share their mean rank.
        """
        return self._rank_sum / len(self.rounds)

    def pruned(self) -> Tensor:
        """Return the whole course: bool, shape (rounds, n), on the host; eight times as large as what is kept."""
        if not self._bits:
            return torch.zeros(0, self.n, dtype=torch.bool)
        return _unpacked(torch.stack(self._bits), self.n)

    def ranking(self) -> Tensor:
        """Return all samples, the most suspicious first: by the share of rounds that pruned them, then the mean rank.

        Returns
        -------
        Tensor of int64, shape (n,)
            Indices; equals stay in their order.
        """
        by_rank = torch.argsort(self._rank_sum, descending=True, stable=True)
        return by_rank[torch.argsort(self._times[by_rank], descending=True, stable=True)]

    def record(
        self,
        epoch: int,
        losses: Tensor,
        weights: Tensor,
        pruned: Tensor,
        plan: rrm_core.Plan | None = None,
    ) -> Round:
        """Add a round.

        Parameters
        ----------
        epoch : int
            The epoch that it follows.
        losses, weights : Tensor of float32, shape (n,)
            The losses that were weighed, and the weights after smoothing.
        pruned : Tensor of bool, shape (n,)
            Samples above the threshold.
        plan : Plan, optional
            Where there is one for all samples.

        Returns
        -------
        Round
        """
        self.to(losses.device)
        before, times, seen = self._last, self._times, bool(self.rounds)
        both, n_pruned, n_before = _count(pruned & before), _count(pruned), _count(before)
        either = n_pruned + n_before - both
        mass, squares = _double_sum(weights), float(torch.dot(weights, weights))
        without_nan = losses
        if plan is None or plan.n_nan:
            without_nan = losses.nan_to_num(nan=torch.inf, posinf=torch.inf)
        objective = None
        if plan is not None and math.isfinite(plan.threshold):
            objective = _double_sum(without_nan.clamp(max=plan.threshold)) / self.n
        entry = Round(
            epoch=epoch,
            loss_min=float(without_nan.min()) if plan is None else plan.loss_min,
            threshold=None if plan is None else plan.threshold,
            gamma=None if plan is None else plan.gamma,
            n_pruned=n_pruned,
            n_entered=n_pruned - both,
            n_left=n_before - both,
            n_returned=_count(pruned & ~before & (times > 0)),
            overlap=both / either if seen and either else None,
            largest_weight=float(weights.max()),
            effective_sample_size=mass * mass / squares if squares else 0.0,
            objective=objective,
        )
        self.rounds.append(entry)
        self._bits.append(_packed(pruned))
        self._last, self._times = pruned.clone(), times + pruned
        ranks = _ranks(without_nan)
        # Without a plan, NaN is a sample that no batch held: neither suspicious nor trusted.
        self._rank_sum += ranks if plan is not None else torch.where(losses.isnan(), 0.5, ranks)
        return entry

    def to(self, device: torch.device) -> None:
        """Move what is counted by sample; the bits stay on the host."""
        if self._last.device != device:
            self._last, self._times = self._last.to(device), self._times.to(device)
            self._rank_sum = self._rank_sum.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Return the course so far: tensors, numbers and strings, fit for ``torch.save``."""
        bits = torch.stack(self._bits) if self._bits else torch.zeros(0, -(-self.n // 8), dtype=torch.uint8)
        return {"rounds": [asdict(entry) for entry in self.rounds], "bits": bits, "rank_sum": self._rank_sum.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state from `state_dict`, of as many samples.

        Raises
        ------
        ValueError
            An entry is missing, or an array doesn't fit; the state is as before the call.
        """
        if missing := {"rounds", "bits", "rank_sum"} - state.keys():
            raise ValueError(f"state's trajectory lacks {', '.join(sorted(missing))}; pass what state_dict() returned")
        try:
            rounds = [Round(**entry) for entry in state["rounds"]]
        except TypeError as error:  # an entry too many, or one that is missing
            raise ValueError(f"state's rounds aren't those of this version: {error}") from error
        bits, rank_sum = state["bits"], state["rank_sum"]
        if bits.shape != (len(rounds), -(-self.n // 8)) or rank_sum.shape != (self.n,):
            raise ValueError(
                f"state's trajectory must hold {len(rounds)} rounds of {self.n} samples, got bits of shape "
                f"{tuple(bits.shape)} and ranks of shape {tuple(rank_sum.shape)}"
            )
        device = self._last.device
        self.rounds, self._bits = rounds, list(bits.cpu().clone())
        self._rank_sum = rank_sum.detach().to(device, torch.float32, copy=True)
        times, last = torch.zeros(self.n, dtype=torch.int32), torch.zeros(self.n, dtype=torch.bool)
        for row in self._bits:
            last = _unpacked(row, self.n)
            times += last
        self._last, self._times = last.to(device), times.to(device)


def _count(mask: Tensor) -> int:
    return int(mask.count_nonzero())


def _double_sum(values: Tensor) -> float:
    return float(values.sum(dtype=torch.float64))


def _packed(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def _unpacked(bits: Tensor, n: int) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=-1, count=n).view(bool))


def _ranks(losses: Tensor) -> Tensor:
    """Return each loss's rank over n - 1, from its leading 16 bits; equals share theirs. No loss is NaN.

    Sorting would take five times as long for a million losses, and tell no more that matters.
    """
    bits = (losses + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # of negative numbers, larger bits are smaller numbers
    key = (ordered >> 16) + 32768
    counts = torch.bincount(key, minlength=65536)
    middle = (counts.cumsum(0) - (counts + 1) / 2) / max(len(losses) - 1, 1)
    return middle.float().index_select(0, key)
