"""The plan as the command line prints it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from ._cli import print_table
from .definition.group_plan import GroupedPlan
from .definition.plan import Plan


def print_plan(
    losses: str | list[str], plan: Plan | GroupedPlan, seconds: float, *, as_json: bool, weights: str | None = None
) -> None:
    """Print a plan; with groups also these: as JSON all, otherwise those of which the largest share is pruned.

    Parameters
    ----------
    losses : str or list of str
        The files.
    plan : Plan or GroupedPlan
    seconds : float
        Time that the call took.
    as_json : bool
    weights : str, optional
        The file that was written.
    """
    if isinstance(plan, GroupedPlan):
        counts = _group_counts(plan)
        rule = asdict(plan.rule)
        if not as_json:
            rule = {name: _range_of(value) if isinstance(value, tuple) else value for name, value in rule.items()}
    else:
        counts = _counts(plan)
        rule = asdict(plan.rule)
        del rule["cap"], rule["mass"]
    table = {
        "losses": losses,
        "samples": plan.n,
        "type": plan.dtype,
        "rule": rule,
        **counts,
        "largest weight": plan.largest_weight,
        "effective size": plan.effective_sample_size,
        "total variation": plan.total_variation,
        "seconds": round(seconds, 3),
    }
    if weights is not None:
        table["weights"] = weights
    if isinstance(plan, GroupedPlan) and as_json:
        table["by group"] = _group_rows(plan)
    print_table(table, as_json=as_json)
    if isinstance(plan, GroupedPlan) and not as_json:
        print(str(plan).partition("\n")[2])


def _counts(plan: Plan) -> dict[str, Any]:
    return {
        "threshold": plan.threshold,
        "smallest loss": plan.loss_min,
        "gamma": plan.gamma,
        "pruned": plan.n_pruned,
        "pruned share": plan.pruned_fraction,
        "NaN": plan.n_nan,
        "tied": plan.n_tied,
        "recipients": plan.n_recipients,
    }


def _group_counts(plan: GroupedPlan) -> dict[str, Any]:
    n_pruned = int(plan.n_pruned.sum())
    return {
        "groups": plan.n_groups,
        "pruned": n_pruned,
        "pruned share": n_pruned / plan.n,
        "NaN": int(plan.n_nan.sum()),
        "tied": int(plan.n_tied.sum()),
        "recipients": int(plan.n_recipients.sum()),
    }


def _range_of(numbers: tuple[float, ...]) -> str:
    return f"{min(numbers):.4g} to {max(numbers):.4g}"


def _group_rows(plan: GroupedPlan) -> list[dict[str, Any]]:
    """Return a dict for each group, for JSON: a threshold that is infinite or does not exist is None."""
    columns = (plan.sizes, plan.threshold, plan.loss_min, plan.n_pruned, plan.n_tied, plan.n_recipients)
    names = ("samples", "threshold", "smallest_loss", "pruned", "tied", "recipients")
    return [
        {"group": group} | {name: x if math.isfinite(x) else None for name, x in zip(names, numbers, strict=True)}
        for group, numbers in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]
