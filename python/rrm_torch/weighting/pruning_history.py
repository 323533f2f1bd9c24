"""PruningHistory: which samples each reweight pruned, and a few numbers of each reweight."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import rrm_core

from ..distributed.exact_sum import BLOCK
from . import state as states
from .layout import Layout, SingleProcess
from .loss_ranks import N_KEYS, leading_bits, loss_ranks
from .reweight_sums import ReweightSums


@dataclass(frozen=True)
class Reweight:
    """One reweight.

    Attributes
    ----------
    epoch : int
        The epoch that it followed, counted from 1; the step, where steps are counted.
    loss_min : float
        The smallest loss.
    threshold, gamma : float or None
        Losses above the threshold were pruned; gamma is its distance from the smallest loss, or as given. None with
        `BatchRRM`, where each batch has its own.
    n_pruned : int
        Number of samples pruned.
    n_entered : int
        Of these, not pruned by the reweight before.
    n_left : int
        Pruned by the reweight before, and not by this one.
    n_returned : int
        Of those that entered, pruned by an earlier reweight.
    overlap : float or None
        Samples pruned by this reweight and the one before, over those pruned by either (Jaccard index); None for the
        first reweight, or if neither pruned any.
    largest_weight : float
        After smoothing.
    effective_sample_size : float
        Kish's, (sum w)**2 / sum w**2, of the weights after smoothing.
    objective : float or None
        ``mean(minimum(losses, threshold))``: the least expected loss plus price over all distributions, for the model
        as it is. None without a threshold, or if it is infinite.
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


class PruningHistory:
    """Which samples were pruned when: one bit for each sample and reweight, and a few numbers for each reweight.

    Parameters
    ----------
    n : int
        Number of samples.
    layout : Layout, optional
        The layout of the RRM that it belongs to; by default a single process. If each rank stores a slice of the
        samples, what is by sample is that of the slice.

    Attributes
    ----------
    rounds : list of Reweight
        The reweights, oldest first.
    """

    def __init__(self, n: int, layout: Layout | None = None) -> None:
        self.n = n
        self.rounds: list[Reweight] = []
        self._layout = SingleProcess(n) if layout is None else layout
        n_local = self._layout.n_local
        # By reweight: uint8 on the host, the first of eight samples in the highest bit.
        self._bits: list[Tensor] = []
        self._last = torch.zeros(n_local, dtype=torch.bool)
        self._times = torch.zeros(n_local, dtype=torch.int32)
        self._rank_sum = torch.zeros(n_local)

    @property
    def last(self) -> Tensor:
        """The samples that the last reweight pruned: bool, shape (n_local,)."""
        return self._last

    @property
    def share_pruned(self) -> Tensor:
        """Share of the reweights that pruned a sample: float32, shape (n_local,), in [0, 1]; NaN before the first."""
        return self._times / len(self.rounds)

    @property
    def mean_rank(self) -> Tensor:
        """Mean of a sample's loss ranks over the reweights: float32, shape (n_local,), from 0 (lowest) to 1 (highest).

        Losses that agree in the leading 16 of their 32 bits (to 0.8 %) share their mean rank.
        """
        return self._rank_sum / len(self.rounds)

    def pruned(self) -> Tensor:
        """Return which samples each reweight pruned: bool, shape (reweights, n), on the host.

        Eight times as large as what is stored. If ranks store slices, all of them must call this.
        """
        return _unpack(self._all_bits(), self.n)

    def ranking(self) -> Tensor:
        """Return all samples, the most suspicious first: by the share of reweights that pruned them, then mean rank.

        Returns
        -------
        Tensor of int64, shape (n,)
            Indices; equal samples in the order of their index. If ranks store slices, all of them must call this.
        """
        rank_sum = self._layout.all_gather(self._rank_sum)
        times = self._layout.all_gather(self._times)
        by_rank = torch.argsort(rank_sum, descending=True, stable=True)
        return by_rank[torch.argsort(times[by_rank], descending=True, stable=True)]

    def record(
        self,
        epoch: int,
        losses: Tensor,
        weights: Tensor,
        pruned: Tensor,
        plan: rrm_core.Plan | None = None,
    ) -> Reweight:
        """Add a reweight.

        Parameters
        ----------
        epoch : int
            The epoch that it follows.
        losses, weights : Tensor of float32, shape (n_local,)
            The losses that decided, and the weights after smoothing; of the local samples.
        pruned : Tensor of bool, shape (n_local,)
            Samples above the threshold.
        plan : Plan, optional
            The plan of all samples, if there is one.

        Returns
        -------
        Reweight
        """
        self.to(losses.device)
        is_first = not self.rounds
        without_nan = losses
        if plan is None or plan.n_nan:
            without_nan = losses.nan_to_num(nan=torch.inf, posinf=torch.inf)
        largest_weight = self._largest(weights)
        sums = ReweightSums(self.n, largest_weight, plan, losses.device)
        keys, n_masked = self._scan(without_nan, weights, pruned, sums)
        totals = self._layout.all_reduce_sum(
            torch.cat([torch.bincount(keys, minlength=N_KEYS), n_masked, sums.totals()])
        )
        n_both, n_pruned, n_before, n_returned, *reduced = totals[N_KEYS:].tolist()
        effective_sample_size, objective = sums.results(reduced)
        n_either = n_pruned + n_before - n_both
        entry = Reweight(
            epoch=epoch,
            loss_min=float(without_nan.min()) if plan is None else plan.loss_min,
            threshold=None if plan is None else plan.threshold,
            gamma=None if plan is None else plan.gamma,
            n_pruned=n_pruned,
            n_entered=n_pruned - n_both,
            n_left=n_before - n_both,
            n_returned=n_returned,
            overlap=None if is_first or not n_either else n_both / n_either,
            largest_weight=largest_weight,
            effective_sample_size=effective_sample_size,
            objective=objective,
        )
        self.rounds.append(entry)
        self._bits.append(_pack(pruned))
        self._last = pruned.clone()
        self._times += pruned
        ranks = loss_ranks(keys, totals[:N_KEYS], self.n)
        # Without a plan, NaN is a sample of no batch: neither suspicious nor trusted.
        self._rank_sum += ranks if plan is not None else torch.where(losses.isnan(), 0.5, ranks)
        return entry

    def to(self, device: torch.device) -> None:
        """Move what is counted by sample to `device`; the bits stay on the host."""
        if self._last.device != device:
            self._last = self._last.to(device)
            self._times = self._times.to(device)
            self._rank_sum = self._rank_sum.to(device)

    def state_dict(self) -> dict[str, Any]:
        """Return the history so far: tensors, numbers and strings, fit for ``torch.save``."""
        values = {
            "rounds": [asdict(entry) for entry in self.rounds],
            "bits": self._stacked_bits(),
            "rank_sum": self._rank_sum,
        }
        return states.export(values, states.entries("history"), self._layout)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`, for the same number of samples.

        Raises
        ------
        ValueError
            An entry is missing, or a tensor has the wrong shape; the history is as before the call.
        """
        table = states.entries("history")
        states.check_entries(state, table, "state's trajectory", "state_dict()")
        try:
            rounds = [Reweight(**entry) for entry in state["rounds"]]
        except TypeError as error:
            raise ValueError(f"state's rounds aren't those of this version: {error}") from error
        bits, rank_sum = state["bits"], state["rank_sum"]
        if bits.shape != (len(rounds), -(-self.n // 8)) or rank_sum.shape != (self.n,):
            raise ValueError(
                f"state's trajectory must hold {len(rounds)} rounds of {self.n} samples, got bits of shape "
                f"{tuple(bits.shape)} and ranks of shape {tuple(rank_sum.shape)}"
            )
        device = self._last.device
        n_local = self._layout.n_local
        tensors = states.local(state, table, self._layout, torch.device("cpu"))
        times = torch.zeros(n_local, dtype=torch.int32)
        last = torch.zeros(n_local, dtype=torch.bool)
        for row in tensors["bits"]:
            last = _unpack(row, n_local)
            times += last
        self.rounds = rounds
        self._bits = list(tensors["bits"])
        self._rank_sum = tensors["rank_sum"].to(device)
        self._last = last.to(device)
        self._times = times.to(device)

    def _largest(self, weights: Tensor) -> float:
        """Return the largest weight of all samples."""
        local = weights.amax(0, keepdim=True) if len(weights) else weights.new_zeros(1)
        return float(self._layout.all_reduce_max(local))

    def _scan(self, losses: Tensor, weights: Tensor, pruned: Tensor, sums: ReweightSums) -> tuple[Tensor, Tensor]:
        """Add the local samples to `sums`; return the keys of their losses, and four counts.

        The counts are those of samples pruned now and before, now, before, and now again after a reweight that did not.
        """
        keys = torch.empty(len(losses), dtype=torch.int32, device=losses.device)
        counts = torch.zeros(4, dtype=torch.int64, device=losses.device)
        for begin in range(0, len(losses), BLOCK):
            part = slice(begin, begin + BLOCK)
            keys[part] = leading_bits(losses[part])
            now = pruned[part]
            before = self._last[part]
            masks = (now & before, now, before, now & ~before & (self._times[part] > 0))
            counts += torch.stack([mask.count_nonzero() for mask in masks])
            sums.add(losses[part], weights[part])
        return keys, counts

    def _stacked_bits(self) -> Tensor:
        """Return the bits of the local samples: uint8, shape (reweights, ceil(n_local / 8))."""
        if self._bits:
            return torch.stack(self._bits)
        return torch.zeros(0, -(-self._layout.n_local // 8), dtype=torch.uint8)

    def _all_bits(self) -> Tensor:
        return self._layout.all_gather(self._stacked_bits(), packed=True)


def _pack(mask: Tensor) -> Tensor:
    """Return a mask as bits, eight samples in a byte, on the host."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def _unpack(bits: Tensor, n: int) -> Tensor:
    """Return bits as a mask of n samples along the last axis."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=-1, count=n).view(bool))
