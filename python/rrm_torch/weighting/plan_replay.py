"""The plan of the last reweight again, from the losses of a state."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

import rrm_core

from .reweight import Reweight
from .settings import Settings


def replay_plan(settings: Settings, losses: Tensor, last_bits: Tensor, last: Reweight) -> rrm_core.Plan:
    """Return the plan of the last reweight, bit for bit, from the losses, or the numbers in place of them.

    Parameters
    ----------
    settings : Settings
    losses : Tensor, shape (n,)
        NaN for a sample that took no part, or was pruned for it.
    last_bits : Tensor of uint8, shape (ceil(n / 8),)
        Which samples the last reweight pruned.
    last : Reweight

    Raises
    ------
    ValueError
        The plan differs from what was recorded of it: the state was saved by an RRM with another schedule, or the file
        is damaged.
    """
    pruned = torch.from_numpy(np.unpackbits(last_bits.cpu().numpy(), count=len(losses)).view(bool)).to(losses.device)
    members = pruned | ~losses.isnan()
    n_members = int(members.count_nonzero())
    if n_members != last.n_planned:
        raise ValueError(
            f"state's last reweight planned {last.n_planned} samples, and its losses are NaN for all but {n_members}; "
            "the file may be damaged"
        )
    if n_members < len(losses):
        losses = losses[members]
    rule = settings.rule(last.epoch, last.contamination if last.is_given else None)
    plan: rrm_core.Plan = rrm_core.plan(losses, **asdict(rule))
    if plan.n_pruned != last.n_pruned or plan.threshold != last.threshold:
        raise ValueError(
            f"state was saved by an RRM with another schedule, which pruned {last.n_pruned} samples after "
            f"{settings.unit} {last.epoch}, where this one prunes {plan.n_pruned}"
        )
    recorded = (last.loss_min, last.gamma, last.contamination)
    if (plan.loss_min, plan.gamma, rule.contamination) != recorded:
        raise ValueError(
            f"state's last reweight has loss_min={last.loss_min}, gamma={last.gamma} and contamination="
            f"{last.contamination}, and its losses and settings give {plan.loss_min}, {plan.gamma} and "
            f"{rule.contamination}; the file may be damaged"
        )
    return plan
