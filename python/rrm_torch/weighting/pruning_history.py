"""PruningHistory: which samples each reweight pruned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import rrm_core

from . import state as states
from .layout import Layout, SingleProcess
from .packed_bits import count_times, n_bytes, unpack
from .pruning_records import PruningRecords, no_records
from .reweight import Reweight, summarize
from .reweight_samples import check_samples
from .reweight_scan import scan
from .reweight_sums import ReweightSums
from .state_checks import check_history
from .suspicion import order_by_suspicion


class PruningHistory:
    """Which samples were pruned when: one bit for each sample and reweight, and a few numbers for each reweight.

    `record` and `load_state_dict` change it by one assignment: an interrupt leaves the old history or the new one.

    Parameters
    ----------
    n : int
        Number of samples.
    layout : Layout, optional
        The layout of the RRM that it belongs to; by default a single process. If each rank stores a slice of the
        samples, what is by sample is that of the slice.
    """

    def __init__(self, n: int, layout: Layout | None = None) -> None:
        self.n = n
        self._layout = SingleProcess(n) if layout is None else layout
        self._records = no_records(self._layout.n_local)

    @property
    def rounds(self) -> list[Reweight]:
        """The reweights, oldest first."""
        return list(self._records.rounds)

    @property
    def last(self) -> Tensor:
        """The samples that the last reweight pruned: bool, shape (n_local,)."""
        records = self._records
        n_local = self._layout.n_local
        last = (
            unpack(records.bits[-1], n_local) if records.bits else torch.zeros(n_local, dtype=torch.bool, device="cpu")
        )
        return last.to(records.excess_sum.device)

    @property
    def share_pruned(self) -> Tensor:
        """Share of the reweights that pruned a sample: float32, shape (n_local,), in [0, 1].

        Of the reweights that the sample took part in; NaN before the first.
        """
        return self._times().float() / self._n_planned()

    @property
    def mean_excess(self) -> Tensor:
        """Mean of a sample's loss less its threshold: float32, shape (n_local,), in units of the loss.

        The relaxed objective falls by as much for each unit of weight that pruning takes from the sample. The mean is
        over the reweights that the sample took part in; NaN before the first. With a contamination for each group the
        threshold is that of the sample's group, otherwise that of all samples, before caps raise it in some groups. An
        infinite one counts as 0, as does that of batches which are weighted by themselves; NaN counts as an infinite
        loss.
        """
        return self._records.excess_sum / self._n_planned()

    def pruned(self) -> Tensor:
        """Return which samples each reweight pruned: bool, shape (reweights, n), on the host.

        Eight times as large as what is stored. If ranks store slices, all of them must call this.
        """
        return unpack(self._layout.all_gather(self._stacked_bits(), packed=True), self.n)

    def ranking(self) -> Tensor:
        """Return all samples, the most suspicious first: by `mean_excess`.

        Returns
        -------
        Tensor of int64, shape (n,)
            Indices; equal samples in the order of their index, and those that took part in no reweight last. If ranks
            store slices, all of them must call this.
        """
        return order_by_suspicion(self._suspicion())

    def flagged(self) -> Tensor:
        """Return the samples that the last reweight pruned, in the order of `ranking`: int64, shape (n_pruned,).

        If ranks store slices, all of them must call this.
        """
        excess = self._suspicion()
        index = self._layout.all_gather(self.last).nonzero()[:, 0]
        return index[order_by_suspicion(excess[index])]

    def copy(self) -> PruningHistory:
        """Return a history that holds the same, and shares its memory."""
        other = PruningHistory.__new__(PruningHistory)
        other.n = self.n
        other._layout = self._layout
        other._records = self._records
        return other

    def to(self, device: torch.device) -> PruningHistory:
        """Return the history with what is by sample on `device`; the bits stay on the host."""
        other = self.copy()
        other._records = self._records.to(device)
        return other

    @torch.inference_mode(False)
    def record(
        self,
        epoch: int,
        losses: Tensor,
        weights: Tensor,
        pruned: Tensor | None = None,
        plan: rrm_core.Plan | rrm_core.GroupedPlan | None = None,
        members: Tensor | None = None,
        contamination: float | tuple[float, ...] | None = None,
        *,
        is_given: bool = False,
        thresholds: Tensor | None = None,
    ) -> Reweight:
        """Add a reweight.

        Parameters
        ----------
        epoch : int
            The epoch that it follows.
        losses, weights : Tensor of float32 or float64, shape (n_local,)
            The losses, or numbers in their place, that decided; and the weights after smoothing. Of one dtype.
        pruned : Tensor of bool, shape (n_local,), optional
            The pruned samples; by default those above the threshold of the plan, and those whose loss is NaN. Needed
            without a plan.
        plan : Plan or GroupedPlan, optional
            The plan of all samples that took part, if there is one.
        members : Tensor of bool, shape (n_local,), optional
            The samples that took part; by default all. The reweight does not count for the others.
        contamination : float or tuple of float, optional
            See `Reweight`. If each group has its own, the excess is that over the group's threshold.
        is_given : bool, default False
            See `Reweight`.
        thresholds : Tensor, shape (n_local,), optional
            The threshold of each sample's group, of the dtype of `losses`; needed with a GroupedPlan.

        Returns
        -------
        Reweight

        Raises
        ------
        ValueError
            A tensor has another shape or dtype; or `pruned` or `thresholds` is missing where it is needed.
        """
        records = self._records.to(losses.device)
        has_quotas = isinstance(contamination, tuple)
        samples = check_samples(
            losses, weights, plan, thresholds, pruned, members, self._layout.n_local, has_quotas=has_quotas
        )
        n_planned = self._count(samples.members) if plan is None else plan.n
        largest_weight = self._largest(samples.weights)
        sums = ReweightSums(n_planned, self.n, largest_weight, plan)
        seen = scan(samples, records, sums)
        totals = self._layout.all_reduce_sum(seen.totals)
        n_pruned, n_both, n_again, *reduced = totals.tolist()
        effective_sample_size, objective = sums.results(reduced)
        n_before = records.rounds[-1].n_pruned if records.rounds else 0
        n_either = n_pruned + n_before - n_both
        if plan is None:
            smallest = float(samples.losses.nan_to_num(nan=torch.inf).min())
            summary: dict[str, Any] = {"loss_min": smallest, "threshold": None, "gamma": None}
        else:
            summary = summarize(plan)
        entry = Reweight(
            **summary,
            epoch=epoch,
            contamination=contamination,
            is_given=is_given,
            n_planned=n_planned,
            n_pruned=n_pruned,
            n_entered=n_pruned - n_both,
            n_left=n_before - n_both,
            n_returned=n_again - n_both,
            overlap=None if not records.rounds or not n_either else n_both / n_either,
            largest_weight=largest_weight,
            effective_sample_size=effective_sample_size,
            objective=objective,
        )
        self._records = PruningRecords(
            rounds=(*records.rounds, entry),
            bits=(*records.bits, seen.bits.cpu()),
            last=seen.bits,
            ever=seen.ever,
            excess_sum=seen.excess_sum,
            planned=self._planned(records, members, n_planned),
        )
        return entry

    def state_dict(self) -> dict[str, Any]:
        """Return the history so far: tensors, numbers and strings, fit for ``torch.save``."""
        records = self._records
        values = {
            "rounds": [dict(vars(entry)) for entry in records.rounds],
            "bits": self._stacked_bits(),
            "excess_sum": records.excess_sum,
            "planned": records.planned,
        }
        return states.export(values, states.entries("history"), self._layout)

    @torch.inference_mode(False)
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state returned by `state_dict`, for the same number of samples.

        Raises
        ------
        ValueError
            An entry is missing or can't be right; the message says which. The history is as before the call.
        """
        rounds = check_history(state, self.n)
        device = self._records.last.device
        self._records = load_history(state, rounds, self._layout).to(device)._records

    def _n_planned(self) -> Tensor | int:
        """Return how many reweights each local sample took part in; a number if all took part in each."""
        if self._records.planned is None:
            return len(self._records.rounds)
        return self._records.planned

    def _planned(self, records: PruningRecords, members: Tensor | None, n_planned: int) -> Tensor | None:
        """Return what `PruningRecords.planned` is after another reweight, of `n_planned` samples."""
        planned = records.planned
        if planned is None and n_planned == self.n:
            return None
        if planned is None:
            planned = torch.full_like(records.excess_sum, len(records.rounds), dtype=torch.int32)
        return planned + (1 if members is None else members)

    def _count(self, members: Tensor | None) -> int:
        """Return how many samples took part, on all ranks together."""
        if members is None:
            return self.n
        return int(self._layout.all_reduce_sum(members.count_nonzero()[None]))

    def _times(self) -> Tensor:
        """Return how many reweights pruned each local sample: int32, shape (n_local,)."""
        return count_times(self._records.bits, self._layout.n_local).to(self._records.excess_sum.device)

    def _suspicion(self) -> Tensor:
        """Return by what all samples are ordered, see `order_by_suspicion`."""
        excess = self._records.excess_sum
        planned = self._records.planned
        if planned is not None:
            excess = torch.where(planned > 0, excess / planned.double(), -torch.inf)
        return self._layout.all_gather(excess)

    def _largest(self, weights: Tensor) -> float:
        """Return the largest weight of all samples."""
        local = weights.amax(0, keepdim=True) if len(weights) else weights.new_zeros(1)
        return float(self._layout.all_reduce_max(local))

    def _stacked_bits(self) -> Tensor:
        """Return the bits of the local samples: uint8, shape (reweights, ceil(n_local / 8))."""
        if self._records.bits:
            return torch.stack(self._records.bits)
        return torch.zeros(0, n_bytes(self._layout.n_local), dtype=torch.uint8, device="cpu")


def exact_shares_and_excess(history: PruningHistory) -> tuple[Tensor, Tensor]:
    """Return the share pruned and the mean excess of all samples, not rounded to float32.

    Returns
    -------
    share_pruned, mean_excess : Tensor of float64, shape (n,), on the host
        The excess sorts the samples as `PruningHistory.ranking` does. Both are NaN for a sample that took part in no
        reweight. If ranks store slices, all of them must call this.
    """
    records = history._records
    local_sums = (history._times(), records.excess_sum)
    times, excess_sum = (history._layout.all_gather(sums).cpu().double() for sums in local_sums)
    n_planned = torch.tensor(len(records.rounds), device="cpu")
    if records.planned is not None:
        n_planned = history._layout.all_gather(records.planned).cpu()
    return times / n_planned, excess_sum / n_planned


def load_history(state: dict[str, Any], rounds: list[Reweight], layout: Layout) -> PruningHistory:
    """Return the history of a state that `check_history` has accepted, and whose reweights it has returned."""
    tensors = states.local(state, states.entries("history"), layout, torch.device("cpu"))
    bits = tuple(tensors["bits"])
    history = PruningHistory(layout.n, layout)
    none = history._records.last
    ever = none
    for row in bits:
        ever = ever | row
    history._records = PruningRecords(
        rounds=tuple(rounds),
        bits=bits,
        last=bits[-1] if bits else none,
        ever=ever,
        excess_sum=tensors["excess_sum"],
        planned=tensors.get("planned"),
    )
    return history
