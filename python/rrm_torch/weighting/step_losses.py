"""The losses that a step reweights by, and the samples that take part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .layout import Layout
from .live_state import LiveState
from .loss_buffer import LossBuffer
from .population import Population
from .settings import Settings


@dataclass(frozen=True)
class StepLosses:
    """What a step reweights by.

    Attributes
    ----------
    losses : Tensor, shape (n_local,)
        Of the dtype of the state. NaN for a sample that takes no part.
    ranking : Tensor, shape (n_local,), or None
        The numbers that rank the samples in place of the losses, likewise; None if these are the losses.
    members : Tensor of bool, shape (n_local,), or None
        The samples that take part; None if all do.
    """

    losses: Tensor
    ranking: Tensor | None
    members: Tensor | None

    @property
    def numbers(self) -> Tensor:
        """The numbers that the plan is made of."""
        return self.losses if self.ranking is None else self.ranking


def losses_of_step(
    state: LiveState,
    buffer: LossBuffer,
    passed: Tensor | None,
    population: Population | None,
    settings: Settings,
    layout: Layout,
) -> StepLosses:
    """Return the losses to reweight by, and which samples take part.

    Parameters
    ----------
    state : LiveState
    buffer : LossBuffer
        The recorded losses, after `Layout.merge_recorded`. If each counts for one epoch, the result may be its memory:
        `LossBuffer.next_epoch` has memory of its own.
    passed : Tensor, shape (n_local,), optional
        Losses passed to `step`, which replace the recorded ones.
    population : Population, optional
        The samples that may take part; by default all.
    settings : Settings
    layout : Layout

    Returns
    -------
    StepLosses
    """
    mask = None if population is None else population.mask
    ranking = None
    if passed is None:
        losses = buffer.losses
        ranking = buffer.ranking
        if mask is not None or settings.keeps_latest:
            # A buffer that keeps its losses, or from which not all are used.
            losses = losses.clone()
            ranking = None if ranking is None else ranking.clone()
    else:
        losses = layout.reconcile(passed.detach().to(state.weights.dtype, copy=True), mask)
        if settings.skips_nan:
            # A sample without a loss in this pass keeps the one before.
            losses = torch.where(losses.isnan(), state.losses, losses)
    members = mask
    if settings.unseen == "latest":
        seen = buffer.marks > 0 if passed is None else torch.ones_like(losses, dtype=torch.bool)
        if settings.skips_nan:
            seen &= ~(losses if ranking is None else ranking).isnan()
        if mask is not None:
            members = seen & mask
        elif not bool(seen.all()):
            members = seen
    if members is not None:
        losses.masked_fill_(~members, torch.nan)
        if ranking is not None:
            ranking.masked_fill_(~members, torch.nan)
    return StepLosses(losses, ranking, members)
