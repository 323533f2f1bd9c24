"""The losses that a step reweights by, and the samples that have one."""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import Layout
from .live_state import LiveState
from .loss_buffer import LossBuffer
from .settings import Settings


def losses_of_step(
    state: LiveState, buffer: LossBuffer, passed: Tensor | None, settings: Settings, layout: Layout
) -> tuple[Tensor, Tensor | None]:
    """Return a copy of the losses to reweight by, and which samples have one.

    Parameters
    ----------
    state : LiveState
    buffer : LossBuffer
        The recorded losses, after `Layout.merge_recorded`.
    passed : Tensor, shape (n_local,), optional
        Losses passed to `step`, which replace the recorded ones.
    settings : Settings
    layout : Layout

    Returns
    -------
    losses : Tensor, shape (n_local,)
        Of the dtype of the state. NaN for a sample without a loss.
    members : Tensor of bool, shape (n_local,), or None
        The samples that have a loss; None if all do.
    """
    if passed is None:
        losses = buffer.losses.clone()
        seen = buffer.marks > 0
    else:
        losses = layout.reconcile(passed.detach().to(state.weights.dtype, copy=True))
        seen = torch.ones_like(losses, dtype=torch.bool)
    if settings.unseen == "raise":
        return losses, None
    if settings.skips_nan:
        # A sample without a loss in this pass keeps the one before.
        losses = torch.where(losses.isnan(), state.losses, losses)
        seen &= ~losses.isnan()
    if bool(seen.all()):
        return losses, None
    return losses.masked_fill_(~seen, torch.nan), seen
