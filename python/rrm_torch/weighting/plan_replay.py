"""The plan of the last reweight again, from the losses of a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from torch import Tensor

import rrm_core

from .pruning_history import Reweight
from .settings import Settings


def replay_plan(settings: Settings, losses: Tensor, rounds: Sequence[Reweight]) -> rrm_core.Plan | None:
    """Return the plan of the last reweight, bit for bit, from the losses of all samples; None before the first.

    Raises
    ------
    ValueError
        The plan differs from what was recorded of it: the state was saved by an RRM with another schedule.
    """
    if not rounds:
        return None
    last = rounds[-1]
    plan: rrm_core.Plan = rrm_core.plan(losses, **asdict(settings.rule(last.epoch)))
    if plan.n_pruned != last.n_pruned or plan.threshold != last.threshold:
        raise ValueError(
            f"state was saved by an RRM with another schedule, which pruned {last.n_pruned} samples after "
            f"{settings.unit} {last.epoch}, where this one prunes {plan.n_pruned}"
        )
    return plan
