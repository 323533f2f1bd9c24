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
    """Return the plan of the last reweight, bit for bit, from the losses of all samples.

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
        The plan differs from what was recorded of it: the state was saved by an RRM with another schedule.
    """
    pruned = torch.from_numpy(np.unpackbits(last_bits.cpu().numpy(), count=len(losses)).view(bool)).to(losses.device)
    members = pruned | ~losses.isnan()
    if settings.unseen == "latest":
        losses = losses[members]
    plan: rrm_core.Plan = rrm_core.plan(losses, **asdict(settings.rule(last.epoch)))
    if plan.n_pruned != last.n_pruned or plan.threshold != last.threshold:
        raise ValueError(
            f"state was saved by an RRM with another schedule, which pruned {last.n_pruned} samples after "
            f"{settings.unit} {last.epoch}, where this one prunes {plan.n_pruned}"
        )
    if (plan.loss_min, plan.gamma) != (last.loss_min, last.gamma):
        raise ValueError(
            f"state's last reweight has loss_min={last.loss_min} and gamma={last.gamma}, and its losses give "
            f"{plan.loss_min} and {plan.gamma}; the file may be damaged"
        )
    return plan
