"""The arguments of `RRM.step`, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt
import torch
from torch import Tensor

import rrm_core

from .._models import to_device
from .epoch_checks import check_losses
from .layout import Layout
from .population import check_among, locate_members, losses_by_sample
from .settings import Settings


@dataclass(frozen=True)
class StepArguments:
    """The arguments of `RRM.step` on this rank.

    Attributes
    ----------
    losses : Tensor, shape (n_local,), or None
        By sample, where a reweight is due.
    mask : Tensor of bool, shape (n_local,), or None
        The population, on the device of the losses; None if these are all samples.
    rule : Rule or None
        None if no reweight is due.
    is_given : bool
        Whether the contamination of the rule is an argument.
    """

    losses: Tensor | None
    mask: Tensor | None
    rule: rrm_core.Rule | None
    is_given: bool


def read_arguments(
    losses: Tensor | None,
    among: Tensor | None,
    contamination: npt.ArrayLike | None,
    *,
    settings: Settings,
    layout: Layout,
    epoch: int,
    device: torch.device,
    is_due: bool,
    estimated: npt.ArrayLike | None,
) -> StepArguments:
    """Return the arguments of the step that ends `epoch`; `device` is that of the state.

    `is_due` says whether a reweight may follow, and `estimated` is the contamination where it has been estimated.

    Raises
    ------
    TypeError, ValueError, IndexError
        An argument is invalid, or a reweight is due and there is no contamination.
    """
    if losses is not None and settings.rank_by != "loss":
        raise ValueError(
            f"rank_by={settings.rank_by!r} ranks by outputs, which losses passed to step() don't have: call step() "
            "without losses, and weighted_mean with logits and labels"
        )
    is_given = contamination is not None
    rule = settings.rule(epoch, contamination if is_given else estimated) if is_due or is_given else None
    check_losses(losses, layout.n_local if is_due and among is None else None)
    if among is None:
        return StepArguments(losses, None, rule, is_given)
    check_among(among)
    if losses is not None:
        device = losses.device
    positions = locate_members(to_device(among, device), layout.start, layout.end)
    if is_due and losses is not None:
        losses = losses_by_sample(losses, positions, layout.n_local)
    mask = torch.zeros(layout.n_local, dtype=torch.bool, device=device)
    mask[positions] = True
    return StepArguments(losses, mask, rule, is_given)
