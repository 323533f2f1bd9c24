"""One pass over the local samples of a reweight, and one that adds their loss ranks.

On the CPU compiled loops do both. Elsewhere, and where these were not built, operations of torch do, each on all
samples at once, so that their number does not depend on that of the samples. Both give the same bits: all results are
integers, or sums of two floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rrm_core._training import compiled_loops

from .large_pages import empty_on_host
from .loss_ranks import N_KEYS, leading_bits, loss_ranks
from .packed_bits import count_set, n_bytes, pack
from .pruning_records import PruningRecords
from .reweight_samples import ReweightSamples
from .reweight_sums import ReweightSums

# Three numbers of pruned samples, and three sums.
N_TOTALS = 6


@dataclass(frozen=True)
class ReweightScan:
    """What a pass over the local samples finds.

    Attributes
    ----------
    totals : Tensor of int64, shape (N_KEYS + N_TOTALS,)
        What ranks add: the number of members with each key; of samples pruned now, of these by the reweight before, and
        by any before; and the totals of `ReweightSums`.
    bits, ever : Tensor of uint8, shape (ceil(n_local / 8),)
        Bits of the samples pruned now; and now or by any reweight before.
    keys : Tensor of int32, shape (n_local,), or None
        The keys of the losses, see `loss_ranks`. None from the compiled loop, which finds them again in less time than
        it would take to store them.
    """

    totals: Tensor
    bits: Tensor
    ever: Tensor
    keys: Tensor | None = None


def scan(samples: ReweightSamples, records: PruningRecords, sums: ReweightSums) -> ReweightScan:
    """Return what a pass over the samples finds; `records` are those before, on the same device."""
    compiled = compiled_loops() if samples.losses.device.type == "cpu" else None
    if compiled is None:
        return _scan_by_torch(samples, records, sums)
    totals = torch.zeros(N_KEYS + N_TOTALS, dtype=torch.int64, device="cpu")
    bits = torch.empty(n_bytes(len(samples.losses)), dtype=torch.uint8, device="cpu")
    ever = torch.empty_like(bits)
    counts = compiled.add_to_record(
        samples.losses.numpy(),
        samples.weights.numpy(),
        None if samples.thresholds is None else samples.thresholds.numpy(),
        samples.threshold,
        _bytes(samples.pruned),
        _bytes(samples.members),
        records.last.numpy(),
        records.ever.numpy(),
        sums.scales,
        totals[:N_KEYS].numpy(),
        bits.numpy(),
        ever.numpy(),
    )
    totals[N_KEYS:] = torch.tensor(counts, device="cpu")
    return ReweightScan(totals, bits, ever)


def add_ranks(
    samples: ReweightSamples,
    keys: Tensor | None,
    key_counts: Tensor,
    n_planned: int,
    rank_sum: Tensor,
    nan_rank: float | None,
) -> Tensor:
    """Return `rank_sum` plus the rank of each loss that took part, see `loss_ranks`.

    Parameters
    ----------
    samples : ReweightSamples
    keys : Tensor or None
        See `ReweightScan`.
    key_counts : Tensor of int64, shape (N_KEYS,)
        The number of members with each key, on all ranks together.
    n_planned : int
        Number of members, on all ranks together.
    rank_sum : Tensor of float32, shape (n_local,)
    nan_rank : float or None
        The rank of NaN; None for that of infinity.
    """
    if keys is not None:
        added = loss_ranks(key_counts, n_planned).index_select(0, keys)
        if nan_rank is not None:
            added = torch.where(samples.losses.isnan(), nan_rank, added)
        return rank_sum + (added if samples.members is None else torch.where(samples.members, added, 0))
    compiled = compiled_loops()
    assert compiled is not None
    added = empty_on_host(len(rank_sum), torch.float32)
    compiled.add_ranks(
        samples.losses.numpy(),
        _bytes(samples.members),
        key_counts.numpy(),
        n_planned,
        nan_rank,
        rank_sum.numpy(),
        added.numpy(),
    )
    return added


def _scan_by_torch(samples: ReweightSamples, records: PruningRecords, sums: ReweightSums) -> ReweightScan:
    pruned = samples.pruned
    if pruned is None:
        limits = samples.threshold if samples.thresholds is None else samples.thresholds
        pruned = samples.losses > limits
        if samples.has_nan:
            pruned |= samples.losses.isnan()
    if samples.members is not None:
        pruned = pruned & samples.members
    bits = pack(pruned)
    losses = samples.losses
    if samples.has_nan:
        losses = losses.nan_to_num(nan=torch.inf, posinf=torch.inf)
    keys = leading_bits(losses)
    # Those that took no part have a count of their own, which is left out.
    counted = keys if samples.members is None else torch.where(samples.members, keys, N_KEYS)
    counts = torch.bincount(counted, minlength=N_KEYS + 1)[:N_KEYS]
    n_pruned = count_set(torch.stack([bits, bits & records.last, bits & records.ever]))
    totals = torch.cat([counts, n_pruned, sums.totals(samples)])
    return ReweightScan(totals, bits, records.ever | bits, keys)


def _bytes(mask: Tensor | None) -> object:
    return None if mask is None else mask.view(torch.uint8).numpy()
