"""Checks at the end of an epoch or a step that every rank raises alike: indices in range, each sample recorded once."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor

from ..distributed.process_group import first_mismatch
from .batch_checks import check_floating
from .layout import Layout
from .live_state import LiveState
from .loss_buffer import LatestLossBuffer, LossBuffer
from .population import Population
from .settings import Settings

REMEDIES = {
    "settings": "make RRM with the same arguments on all ranks",
    "epoch": "call step() equally often on all ranks, and load the same state",
    "losses": "give them to step() on all ranks, or on none",
    "among": "give it to step() on all ranks, or on none; with layout='replicated', the same on all",
    "contamination": "give the same to step() on all ranks",
    "epochs": "plan the same number of epochs on all ranks",
}


def check_losses(losses: object, n_local: int | None = None) -> None:
    """Raise unless losses passed to `step` are None or a tensor, of shape (n_local,) if that is given.

    Raises
    ------
    TypeError, ValueError
        They have the wrong type or shape.
    """
    if losses is None:
        return
    if not isinstance(losses, Tensor):
        raise TypeError(f"losses must be a tensor, got {type(losses).__name__}; rrm_torch.score returns one")
    check_floating("losses", losses)
    if n_local is not None and losses.shape != (n_local,):
        raise ValueError(f"losses must have shape ({n_local},), one per sample, got {tuple(losses.shape)}")


def raise_if_any_rank_failed(
    buffer: LossBuffer, layout: Layout, error: Exception | None = None, *, is_double: bool = False, **equal: int
) -> tuple[bool, bool, bool]:
    """Raise on all ranks an error of one of them, a difference between them, or an index out of range.

    Parameters
    ----------
    buffer : LossBuffer
        Whose deferred indices out of range are reported.
    layout : Layout
    error : Exception, optional
        The error of this rank.
    is_double : bool
        Whether this rank has losses of float64.
    **equal : int
        Numbers that must be the same on all ranks, by a name in `REMEDIES`.

    Returns
    -------
    has_losses : bool
        Whether any rank's buffer has losses.
    is_double : bool
        Whether any rank has losses of float64.
    is_ranked : bool
        Whether any rank's buffer has numbers that rank in place of losses.

    Raises
    ------
    Exception
        The error of the first rank that passes one.
    ValueError
        Ranks differ in one of the numbers.
    IndexError
        An index was out of range.
    """
    flags = (buffer.has_losses, is_double, buffer.ranking is not None)
    rows = layout.sync_or_raise(error, *buffer.take_out_of_range(), *flags, *equal.values())
    for column, name in enumerate(equal, 5):
        rank = first_mismatch([row[column] for row in rows])
        if rank is not None:
            raise ValueError(f"rank {rank} differs from rank 0 in {name}; {REMEDIES[name]}")
    for rank, (n_out_of_range, example, *_) in enumerate(rows):
        if n_out_of_range:
            _raise_out_of_range(buffer, layout, rank, n_out_of_range, example)
    has_losses, is_double, is_ranked = (any(row[column] for row in rows) for column in (2, 3, 4))
    return has_losses, is_double, is_ranked


def find_coverage_error(
    state: LiveState, buffer: LossBuffer, population: Population | None, settings: Settings, layout: Layout
) -> str | None:
    """Return why a reweight can't use the recorded losses; None if it can.

    With ``unseen="latest"`` it needs a loss recorded since the last reweight. Otherwise it needs the losses of one
    epoch, in which each sample was recorded once (with several ranks, whose samplers repeat samples to give all ranks
    the same number, at least once); or, where steps are counted, a loss of each sample. Collective where the layout has
    ranks.

    Parameters
    ----------
    state : LiveState
        At the end of an epoch or step that is not counted yet.
    buffer : LossBuffer
        Its buffer, after `Layout.merge_recorded`.
    population : Population, optional
        The samples that need a loss; by default all.
    settings : Settings
    layout : Layout
    """
    subject = _subject(population, layout)
    if settings.unseen == "latest":
        n_recent, _ = _count_samples(buffer.marks > state.last_reweight, population, layout)
        if n_recent:
            return None
        return (
            f"of the {subject}, none has a loss that was recorded since the last reweight and is a number: "
            "call weighted_mean for each batch, and see whether the model diverged"
        )
    if population is None and settings.unit == "epoch" and _all_recorded(buffer, layout):
        return None
    n_missing, first_missing = _count_samples(buffer.marks == 0, population, layout)
    missing = f"{n_missing} missing (the first: index {first_missing})"
    if settings.unit == "step":
        if not n_missing:
            return None
        return (
            f"of the {subject}, {missing} in the {state.epoch + 1} steps so far: give a warmup of at least "
            "one epoch's steps, and a loader that visits each sample; or unseen='latest' plans without them"
        )
    return _find_error_of_epoch(buffer, population, layout, n_missing, missing)


def _find_error_of_epoch(
    buffer: LossBuffer, population: Population | None, layout: Layout, n_missing: int, missing: str
) -> str | None:
    """Return why the losses recorded in one epoch can't be used; None if they can."""
    subject = _subject(population, layout)
    alternative = "or unseen='latest' uses each sample's latest loss"
    if layout.size > 1:
        if not n_missing:
            return None
        return (
            f"of the {subject}, since the last step, {missing} on all ranks together: a loader with "
            "drop_last=True, or a sampler with it, does that. Let the ranks visit all samples between them; "
            f"{alternative}"
        )
    n_repeated, first_repeated = _count_samples(buffer.marks > 1, population, layout)
    faults = []
    if n_missing:
        faults.append(missing)
    if n_repeated:
        faults.append(f"{n_repeated} seen more than once (the first: index {first_repeated})")
    if not faults:
        return None
    remedy = "Visit each sample once, or pass step(score(model, loader))"
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        remedy = "With several ranks, RRM(..., layout='replicated') brings together what they have seen"
    return (
        f"of the {subject}, since the last step, {' and '.join(faults)}: a loader with drop_last=True, a "
        "sampler with replacement, an epoch broken off or weighted_mean called twice for a batch does that. "
        f"{remedy}; {alternative}. reset_losses() begins the epoch again"
    )


def _all_recorded(buffer: LossBuffer, layout: Layout) -> bool:
    """Return whether each sample was recorded once, with several ranks at least once. Collective."""
    extremes = [1, 1]
    if len(buffer.marks):
        extremes = [int(extreme) for extreme in buffer.marks.aminmax()]
    rows = layout.gather_per_shard(*extremes)
    return all(lowest > 0 and (highest == 1 or layout.size > 1) for lowest, highest in rows)


def find_nan(buffer: LossBuffer, population: Population | None, settings: Settings, layout: Layout) -> str | None:
    """Return a warning about recorded losses that are NaN where that is an error; None if there are none.

    Collective where the layout has ranks.
    """
    if settings.nan != "raise":
        return None
    numbers = buffer.losses if buffer.ranking is None else buffer.ranking
    n_nan, first = _count_samples((buffer.marks > 0) & numbers.isnan(), population, layout)
    if not n_nan:
        return None
    return (
        f"{n_nan} of the {_subject(population, layout)} have a loss that is NaN (the first: index {first}): see "
        "whether the model diverged; unseen='latest' plans without them"
    )


def _subject(population: Population | None, layout: Layout) -> str:
    """Return what a message calls the samples that need a loss."""
    return f"{layout.n} samples" if population is None else f"{population.n} samples to plan over"


def _count_samples(mask: Tensor, population: Population | None, layout: Layout) -> tuple[int, int]:
    """Return how many samples of a population a mask selects, and the index of the first (-1 if there is none)."""
    if population is not None:
        mask = mask & population.mask
    n_local = int(mask.count_nonzero())
    first = layout.start + int(mask.nonzero()[0]) if n_local else -1
    rows = [row for row in layout.gather_per_shard(n_local, first) if row[0]]
    if not rows:
        return 0, -1
    return sum(row[0] for row in rows), rows[0][1]


def _raise_out_of_range(buffer: LossBuffer, layout: Layout, rank: int, count: int, example: int) -> None:
    start, end = layout.local_range(rank)
    subject = f"rank {rank}: " if layout.size > 1 else ""
    # Where only a GPU holds the indices, the example is the first valid index.
    is_on_host = example != start
    such_as = f", such as {example}" if is_on_host else ""
    number = f"at least {count}" if isinstance(buffer, LatestLossBuffer) and not is_on_host else str(count)
    remedy = "make RRM with the number of training samples"
    if (start, end) != (0, layout.n):
        remedy = f"that is this rank's slice of {layout.n}, which rrm_torch.distributed.ShardSampler keeps to"
    raise IndexError(f"{subject}index must lie in [{start}, {end}), got {number} outside{such_as}; {remedy}")
