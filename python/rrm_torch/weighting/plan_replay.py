"""The plan of the last reweight again, from the losses of a state."""

from __future__ import annotations

from torch import Tensor

import rrm_core

from .packed_bits import unpack
from .reweight import Reweight, summarize, total
from .sample_groups import SampleGroups
from .settings import Settings


def replay_plan(
    settings: Settings,
    losses: Tensor,
    last_bits: Tensor,
    last: Reweight,
    estimate: rrm_core.ContaminationEstimate | None,
) -> rrm_core.Plan | rrm_core.GroupedPlan:
    """Return the plan of the last reweight, bit for bit, from the losses, or the numbers in place of them.

    Parameters
    ----------
    settings : Settings
    losses : Tensor, shape (n,)
        On the host. NaN for a sample that took no part, or was pruned for it.
    last_bits : Tensor of uint8, shape (ceil(n / 8),)
        Which samples the last reweight pruned.
    last : Reweight
    estimate : ContaminationEstimate, optional
        That the contamination follows from.

    Raises
    ------
    ValueError
        The plan differs from what was recorded of it: the state was saved by an RRM with another schedule, or the file
        is damaged.
    """
    pruned = unpack(last_bits.cpu(), len(losses))
    members = pruned | ~losses.isnan()
    n_members = int(members.count_nonzero())
    if n_members != last.n_planned:
        raise ValueError(
            f"state's last reweight planned {last.n_planned} samples, and its losses are NaN for all but {n_members}; "
            "the file may be damaged"
        )
    takes_all = n_members == len(losses)
    contamination = last.contamination if last.is_given else settings.estimated_contamination(estimate)
    rule = settings.rule(last.epoch, contamination)
    sample_groups = None
    groups = None
    if settings.sample_groups is not None:
        sample_groups = SampleGroups(settings.sample_groups, 0, settings.n)
        groups = sample_groups.of(None if takes_all else members, losses.device).argument
    plan: rrm_core.Plan | rrm_core.GroupedPlan = rrm_core.plan(
        losses if takes_all else losses[members], groups=groups, **vars(rule)
    )
    summary = summarize(plan)
    n_pruned = total(plan.n_pruned)
    if n_pruned != last.n_pruned or summary["threshold"] != last.threshold:
        raise ValueError(
            f"state was saved by an RRM with another schedule, which pruned {last.n_pruned} samples after "
            f"{settings.unit} {last.epoch}, where this one prunes {n_pruned}"
        )
    summary["contamination"] = rule.contamination
    for name, value in summary.items():
        saved = getattr(last, name)
        if value != saved:
            numbers = "other numbers" if isinstance(value, tuple) else str(value)
            raise ValueError(
                f"state's last reweight has {name}={str(saved)[:80]}, and its losses and settings give {numbers}; the "
                "file may be damaged"
            )
    if sample_groups is not None:
        assert isinstance(plan, rrm_core.GroupedPlan)
        above = losses > sample_groups.thresholds(plan, losses)
        if bool((above != pruned)[~losses.isnan()].any()):
            raise ValueError("state's bits don't say which losses are above the threshold; the file may be damaged")
    return plan
