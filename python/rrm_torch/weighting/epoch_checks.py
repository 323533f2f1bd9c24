"""What keeps recorded losses from being weighed, said the same on all ranks."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from ..distributed.process_group import first_mismatch
from .layout import Alone
from .loss_buffer import LossBuffer

REMEDIES = {
    "settings": "make RRM with the same arguments on all ranks",
    "epoch": "call step() equally often on all ranks, and load the same state",
    "losses": "give them to step() on all ranks, or on none",
}


def raise_on_all(recorder: LossBuffer, layout: Alone, error: Exception | None = None, **same: int) -> None:
    """Raise, on all ranks, what is wrong on one: an error, or indices that lay outside since the last time.

    Parameters
    ----------
    recorder : LossBuffer
    layout : Alone
    error : Exception, optional
        What is wrong on this rank.
    **same : int
        At most three numbers that must be the same on all ranks.
    """
    try:
        rows = layout.sync_or_raise(error, *recorder.outside(), layout.begin, layout.end, *same.values())
        for i, name in enumerate(same, 4):
            if other := first_mismatch([row[i] for row in rows]):
                raise ValueError(f"rank {other} differs from rank 0 in {name}; {REMEDIES[name]}")
        for rank, row in enumerate(rows):
            _require_inside(rank, row, layout)
    except Exception:
        if recorder.counting:
            recorder.restart()  # whatever comes now, the next epoch begins afresh
        raise


def of_recorded(recorder: LossBuffer, layout: Alone, step: int | None) -> str | None:
    """Return what keeps the recorded losses from being those of an epoch; or, where steps are counted, of all samples.

    Parameters
    ----------
    recorder : LossBuffer
        With what all ranks recorded of the samples held here.
    layout : Alone
    step : int or None
        The step that ends, where steps are counted.
    """
    n = layout.n
    missing = _say(recorder.times_seen == 0, "missing", layout)
    if step is not None:  # where the latest loss counts, however often a sample was seen
        return missing and (
            f"of the {n} samples, {missing} in the {step} steps so far: give a warmup of at least one epoch's steps, "
            "and a loader that visits each sample"
        )
    if layout.size > 1:  # whose samplers repeat samples, to give each rank as many; they count once
        return missing and (
            f"of the {n} samples, since the last step, {missing} on all ranks together: a loader with drop_last=True, "
            "or a sampler with it, does that. Let the ranks visit all samples between them"
        )
    found = [fault for fault in (missing, _say(recorder.times_seen > 1, "seen more than once", layout)) if fault]
    if not found:
        return None
    remedy = "Visit each sample once, or pass step(score(model, loader))"
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        remedy = "With several ranks, RRM(..., layout='replicated') brings together what they have seen"
    return (
        f"of the {n} samples, since the last step, {' and '.join(found)}: a loader with drop_last=True, a sampler with "
        f"replacement, an epoch broken off or weighted_mean called twice for a batch does that. {remedy}"
    )


def count(mask: Tensor, layout: Alone) -> int:
    """Return how many samples a mask holds, on all ranks together."""
    return int(layout.sum(mask.count_nonzero().reshape(1)))


def _require_inside(rank: int, row: list[int], layout: Alone) -> None:
    """Raise an IndexError if a rank's indices lay outside what it holds."""
    n_outside, example, first, last, *_ = row
    if not n_outside:
        return
    on = f"rank {rank}: " if layout.size > 1 else ""
    shown = f", such as {example}" if example != first else ""
    remedy = "make RRM with the number of training samples"
    if (first, last) != (0, layout.n):
        remedy = f"that is this rank's slice of {layout.n}, which rrm_torch.distributed.ShardSampler keeps to"
    raise IndexError(f"{on}index must lie in [{first}, {last}), got {n_outside} outside{shown}; {remedy}")


def _say(mask: Tensor, what: str, layout: Alone) -> str | None:
    """Say how many samples a mask holds, and which is the first; None if there is none."""
    n_here, first = int(mask.count_nonzero()), layout.begin
    if n_here:
        first += int(mask.nonzero()[0])
    rows = [row for row in layout.shares(n_here, first) if row[0]]
    return f"{sum(row[0] for row in rows)} {what} (the first: index {rows[0][1]})" if rows else None
