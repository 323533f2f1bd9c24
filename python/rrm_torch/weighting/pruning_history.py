"""The course of the reweights: what each round decided, and which samples it pruned."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import rrm_core

from ..distributed.exact_sum import BLOCK, ExactSum
from .layout import Alone

KEYS = 1 << 16  # of the leading bits of a loss


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


class PruningHistory:
    """Which samples were pruned when: one bit a sample and round, and a few numbers a round.

    Parameters
    ----------
    n : int
        Number of samples.
    layout : Alone, optional
        Of the RRM it belongs to. Where each rank holds a slice of the samples, what is by sample is that of the slice.
    """

    def __init__(self, n: int, layout: Alone | None = None) -> None:
        self.n = n
        self.rounds: list[Reweight] = []
        self._layout = Alone(n) if layout is None else layout
        held = self._layout.held
        self._bits: list[Tensor] = []  # by round: uint8 on the host, the first sample in the highest bit
        self._last = torch.zeros(held, dtype=torch.bool)
        self._times = torch.zeros(held, dtype=torch.int32)
        self._rank_sum = torch.zeros(held)

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
        """Return the whole course: bool, shape (rounds, n), on the host; eight times as large as what is kept.

        Where ranks hold slices, all of them must call this.
        """
        return _unpacked(self._all_bits(), self.n)

    def ranking(self) -> Tensor:
        """Return all samples, the most suspicious first: by the share of rounds that pruned them, then the mean rank.

        Returns
        -------
        Tensor of int64, shape (n,)
            Indices; equals stay in their order. Where ranks hold slices, all of them must call this.
        """
        rank_sum, times = self._layout.whole(self._rank_sum), self._layout.whole(self._times)
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
        """Add a round.

        Parameters
        ----------
        epoch : int
            The epoch that it follows.
        losses, weights : Tensor of float32, shape (n,)
            The losses that were weighed, and the weights after smoothing; of the samples held here.
        pruned : Tensor of bool, shape (n,)
            Samples above the threshold.
        plan : Plan, optional
            Where there is one for all samples.

        Returns
        -------
        Reweight
        """
        self.to(losses.device)
        seen, layout, device = bool(self.rounds), self._layout, losses.device
        without_nan = losses
        if plan is None or plan.n_nan:
            without_nan = losses.nan_to_num(nan=torch.inf, posinf=torch.inf)
        cap = plan.threshold if plan is not None and math.isfinite(plan.threshold) else None
        largest = float(layout.maximum(weights.amax(0, keepdim=True) if len(weights) else weights.new_zeros(1)))
        mass, squares = (ExactSum(top, self.n, device) for top in (largest, largest * largest))
        cost = ExactSum(0.0 if plan is None or cap is None else max(abs(plan.loss_min), abs(cap)), self.n, device)
        keys = torch.empty(len(losses), dtype=torch.int32, device=device)
        counts = torch.zeros(4, dtype=torch.int64, device=device)  # as there are masks
        for begin in range(0, len(losses), BLOCK):
            part = slice(begin, begin + BLOCK)
            now, before, w = pruned[part], self._last[part], weights[part]
            keys[part] = _leading_bits(without_nan[part])
            masks = (now & before, now, before, now & ~before & (self._times[part] > 0))
            counts += torch.stack([mask.count_nonzero() for mask in masks])
            mass.add(w)
            squares.add(w * w)
            if cap is not None:
                cost.add(without_nan[part].clamp(max=cap))
        totals = torch.stack([mass.total, squares.total, cost.total])
        counts = layout.sum(torch.cat([torch.bincount(keys, minlength=KEYS), counts, totals]))
        both, n_pruned, n_before, n_returned, *summed = counts[KEYS:].tolist()
        either = n_pruned + n_before - both
        in_all, in_squares, in_cost = (s.value(total) for s, total in zip((mass, squares, cost), summed, strict=True))
        entry = Reweight(
            epoch=epoch,
            loss_min=float(without_nan.min()) if plan is None else plan.loss_min,
            threshold=None if plan is None else plan.threshold,
            gamma=None if plan is None else plan.gamma,
            n_pruned=n_pruned,
            n_entered=n_pruned - both,
            n_left=n_before - both,
            n_returned=n_returned,
            overlap=both / either if seen and either else None,
            largest_weight=largest,
            effective_sample_size=in_all * in_all / in_squares if in_squares else 0.0,
            objective=None if cap is None else in_cost / self.n,
        )
        self.rounds.append(entry)
        self._bits.append(_packed(pruned))
        self._last = pruned.clone()
        self._times += pruned
        ranks = _ranks(keys, counts[:KEYS], self.n)
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
        rank_sum = self._layout.whole(self._rank_sum).clone()
        return {"rounds": [asdict(entry) for entry in self.rounds], "bits": self._all_bits(), "rank_sum": rank_sum}

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
            rounds = [Reweight(**entry) for entry in state["rounds"]]
        except TypeError as error:  # an entry too many, or one that is missing
            raise ValueError(f"state's rounds aren't those of this version: {error}") from error
        bits, rank_sum = state["bits"], state["rank_sum"]
        if bits.shape != (len(rounds), -(-self.n // 8)) or rank_sum.shape != (self.n,):
            raise ValueError(
                f"state's trajectory must hold {len(rounds)} rounds of {self.n} samples, got bits of shape "
                f"{tuple(bits.shape)} and ranks of shape {tuple(rank_sum.shape)}"
            )
        device, layout = self._last.device, self._layout
        self.rounds, self._bits = rounds, list(layout.share(bits.cpu(), bits=True).clone())
        self._rank_sum = layout.share(rank_sum).detach().to(device, torch.float32, copy=True)
        times, last = torch.zeros(layout.held, dtype=torch.int32), torch.zeros(layout.held, dtype=torch.bool)
        for row in self._bits:
            last = _unpacked(row, layout.held)
            times += last
        self._last, self._times = last.to(device), times.to(device)

    def _all_bits(self) -> Tensor:
        held = -(-self._layout.held // 8)
        bits = torch.stack(self._bits) if self._bits else torch.zeros(0, held, dtype=torch.uint8)
        return self._layout.whole(bits, bits=True)


def _packed(mask: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def _unpacked(bits: Tensor, n: int) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=-1, count=n).view(bool))


def _leading_bits(losses: Tensor) -> Tensor:
    """Return the leading 16 of each loss's 32 bits, as a number in the order of the losses. None is NaN."""
    bits = (losses + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # of negative numbers, larger bits are smaller numbers
    return (ordered >> 16) + KEYS // 2


def _ranks(keys: Tensor, counts: Tensor, n: int) -> Tensor:
    """Return each loss's rank over n - 1, from its leading bits and how many losses have which; equals share theirs.

    Sorting would take five times as long for a million losses, and tell no more that matters.
    """
    middle = (counts.cumsum(0) - (counts + 1) / 2) / max(n - 1, 1)
    return middle.float().index_select(0, keys)
