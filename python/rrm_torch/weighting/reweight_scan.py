"""One pass over the local samples of a reweight.

On the CPU a compiled loop does it. Elsewhere, and where it was not built, operations of torch do, each on all samples
at once, so that their number does not depend on that of the samples. Both give the same bits: sums over samples are
integers, and all else is by sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rrm_core._training import compiled_loops

from .large_pages import empty_on_host
from .packed_bits import count_set, n_bytes, pack
from .pruning_records import PruningRecords
from .reweight_samples import ReweightSamples
from .reweight_sums import ReweightSums


@dataclass(frozen=True)
class ReweightScan:
    """What a pass over the local samples finds.

    Attributes
    ----------
    totals : Tensor of int64, shape (6,)
        What ranks add: the number of samples pruned now, of these by the reweight before, and by any before; and the
        totals of `ReweightSums`.
    bits, ever : Tensor of uint8, shape (ceil(n_local / 8),)
        Bits of the samples pruned now; and now or by any reweight before.
    excess_sum : Tensor of float32, shape (n_local,)
        See `PruningRecords`, with this reweight.
    """

    totals: Tensor
    bits: Tensor
    ever: Tensor
    excess_sum: Tensor


def scan(samples: ReweightSamples, records: PruningRecords, sums: ReweightSums) -> ReweightScan:
    """Return what a pass over the samples finds; `records` are those before, on the same device."""
    compiled = compiled_loops() if samples.losses.device.type == "cpu" else None
    if compiled is None:
        return _scan_by_torch(samples, records, sums)
    n = len(samples.losses)
    bits = torch.empty(n_bytes(n), dtype=torch.uint8, device="cpu")
    ever = torch.empty_like(bits)
    excess_sum = empty_on_host(n, torch.float32)
    counts = compiled.add_to_record(
        samples.losses.numpy(),
        samples.weights.numpy(),
        None if samples.thresholds is None else samples.thresholds.numpy(),
        samples.threshold,
        _bytes(samples.pruned),
        _bytes(samples.members),
        records.last.numpy(),
        records.ever.numpy(),
        records.excess_sum.numpy(),
        None if samples.excess_thresholds is None else samples.excess_thresholds.numpy(),
        samples.excess_threshold,
        sums.scales,
        bits.numpy(),
        ever.numpy(),
        excess_sum.numpy(),
    )
    return ReweightScan(torch.tensor(counts, device="cpu"), bits, ever, excess_sum)


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
    n_pruned = count_set(torch.stack([bits, bits & records.last, bits & records.ever]))
    totals = torch.cat([n_pruned, sums.totals(samples)])
    return ReweightScan(totals, bits, records.ever | bits, records.excess_sum + _excess(samples))


def _excess(samples: ReweightSamples) -> Tensor:
    """Return the loss of each sample less the threshold for it, as float32; 0 if it took no part."""
    losses = samples.losses
    if samples.has_nan:
        losses = losses.nan_to_num(nan=torch.inf, posinf=torch.inf)
    thresholds = samples.excess_thresholds
    if thresholds is not None:
        excess = (losses - torch.where(thresholds.isfinite(), thresholds, 0)).float()
    elif math.isfinite(samples.excess_threshold):
        excess = (losses - samples.excess_threshold).float()
    else:
        excess = losses.float()
    return excess if samples.members is None else torch.where(samples.members, excess, 0)


def _bytes(mask: Tensor | None) -> object:
    return None if mask is None else mask.view(torch.uint8).numpy()
