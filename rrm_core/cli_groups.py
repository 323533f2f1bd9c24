"""Groups on the command line: options with one number per group, and the table of groups."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from .definition.group_plan import GroupedPlan


def shares(text: str) -> float | list[float]:
    """Return a number, or one per group: numbers separated by commas, or those in a ``.npy`` or a text file.

    Raises
    ------
    argparse.ArgumentTypeError
        The text is none of these.
    """
    try:
        if "," in text:
            return [float(number) for number in text.split(",")]
        return float(text)
    except ValueError:
        pass
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(
            f"must be a number, numbers separated by commas, or a file of numbers, got {text!r}"
        )
    try:
        if path.suffix == ".npy":
            numbers: list[float] = np.load(path, allow_pickle=False).astype(np.float64, casting="same_kind").tolist()
            return numbers
        return [float(number) for number in path.read_text(encoding="utf-8").split()]
    except (ValueError, TypeError, EOFError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{text} is no file of numbers, one per group: {error}") from None


def short_rule(rule: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a rule for people: the range of many numbers instead of all."""
    return {name: _range_of(value) if isinstance(value, tuple) else value for name, value in rule.items()}


def _range_of(numbers: tuple[float, ...]) -> str:
    return f"{min(numbers):.4g} to {max(numbers):.4g}"


def group_summary(plan: GroupedPlan) -> dict[str, Any]:
    """Return the entries of the printed summary."""
    n_pruned = int(plan.n_pruned.sum())
    return {
        "groups": plan.n_groups,
        "pruned": n_pruned,
        "pruned share": n_pruned / plan.n,
        "NaN": int(plan.n_nan.sum()),
        "tied": int(plan.n_tied.sum()),
        "recipients": int(plan.n_recipients.sum()),
    }


def group_rows(plan: GroupedPlan) -> list[dict[str, Any]]:
    """Return a dict for each group, for JSON: a threshold that is infinite or does not exist is None."""
    columns = (plan.sizes, plan.threshold, plan.loss_min, plan.n_pruned, plan.n_tied, plan.n_recipients)
    names = ("samples", "threshold", "smallest_loss", "pruned", "tied", "recipients")
    return [
        {"group": group} | {name: x if math.isfinite(x) else None for name, x in zip(names, numbers, strict=True)}
        for group, numbers in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]
