"""The array-API backend: for devices and frameworks without a kernel here, operations where the array lies.

Only the numbers of the plan are copied to the host. The losses are sorted.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ..definition.float_errors import ignore_float_errors
from ..definition.formats import BY_NAME
from ..definition.group_numbers import GroupNumbers
from ..definition.old_weights import InvalidWeights
from ..definition.plan import Counts, NonFiniteCounts, Plan, check_losses, find_thresholds, make_plan
from ..definition.rule import Rule
from .array_api_groups import GroupedLosses

# What is used of an array namespace.
FUNCTIONS = ("argmax", "asarray", "astype", "count_nonzero", "full_like", "isnan", "sort", "uint8", "where")
GROUP_FUNCTIONS = (*FUNCTIONS, "argsort", "cumulative_sum", "searchsorted", "take")


def check_available() -> None:
    """Do nothing: array-api-compat is a dependency."""


@ignore_float_errors
def plan(losses: Any, rule: Rule, threads: int | None = None) -> Plan:  # noqa: ARG001
    """Return the plan for `losses`, a 1-D array of any array-API framework."""
    xp = _namespace(losses)
    n = losses.shape[0]
    format = BY_NAME[dtype_name(losses)]

    def count(mask: Any) -> int:
        return int(xp.count_nonzero(mask))

    def first_index(mask: Any) -> int:
        return int(xp.argmax(xp.astype(mask, xp.uint8)))

    is_nan = xp.isnan(losses)
    is_neg_inf = losses == -math.inf
    n_nan = count(is_nan)
    n_neg_inf = count(is_neg_inf)
    non_finite = NonFiniteCounts(
        n_nan=n_nan,
        first_nan=first_index(is_nan) if n_nan else 0,
        n_neg_inf=n_neg_inf,
        first_neg_inf=first_index(is_neg_inf) if n_neg_inf else 0,
        n_pos_inf=count(losses == math.inf),
    )
    check_losses(rule, n, non_finite)
    # NaN are replaced by +inf and so sorted last: array-API sort leaves the order of NaN open.
    ranked = xp.sort(xp.where(is_nan, xp.full_like(losses, math.inf), losses))

    def smallest(rank: int) -> float:
        # Adding 0.0 normalises -0.0 to 0.0.
        return float(ranked[min(rank, n - n_nan) - 1]) + 0.0

    thresholds = find_thresholds(rule, format, n, smallest(1), smallest)
    n_tied = count(losses == thresholds.threshold)
    n_pruned = n - count(losses < thresholds.threshold) - n_tied
    n_recipients = count(losses <= thresholds.recipient_threshold)
    return make_plan(rule, format, n, n_nan, thresholds, Counts(n_pruned, n_tied, n_recipients))


@ignore_float_errors
def apply(
    plan: Plan,
    losses: Any,
    old_weights: Any | None,
    mu: float,
    out: Any | None,
    threads: int | None = None,  # noqa: ARG001
) -> tuple[Any, InvalidWeights | None]:
    """Return the new weights, in `out` if given, and the invalid old weights; `old_weights` None stands for ones."""
    xp = _namespace(losses)
    on = device(losses)
    weights_type = BY_NAME[plan.dtype].weights
    dtype = getattr(xp, weights_type.name)

    def constant(value: Any) -> Any:
        return xp.asarray(float(value), dtype=dtype, device=on)

    b = weights_type.type(mu)
    # b * level is one rounded product, the same for every sample on that level.
    pruned, tied, kept, tied_recipient, kept_recipient = (
        constant(b * level) for level in np.array(plan.levels).astype(weights_type)
    )
    below = losses < plan.threshold
    equal = losses == plan.threshold
    new = xp.where(
        losses <= plan.recipient_threshold,
        xp.where(below, kept_recipient, tied_recipient),
        xp.where(below, kept, xp.where(equal, tied, pruned)),
    )
    invalid = None
    if mu != 1:
        a = constant(weights_type.type(1 - mu))
        if old_weights is None:
            new = a + new
        else:
            new = a * old_weights + new
            # Before they are overwritten: `out` may be `old_weights`.
            invalid = _find_invalid_weights(xp, old_weights)
    if out is None:
        return new, invalid
    out[...] = new
    return out, invalid


def _find_invalid_weights(xp: Any, weights: Any) -> InvalidWeights | None:
    """Return the weights that are NaN, infinite or negative; None if there are none."""
    is_invalid = ~((weights >= 0) & (weights < math.inf))
    n_invalid = int(xp.count_nonzero(is_invalid))
    if n_invalid == 0:
        return None
    first = int(xp.argmax(xp.astype(is_invalid, xp.uint8)))
    return InvalidWeights(n_invalid, first, float(weights[first]))


@ignore_float_errors
def count_foreign(plan: Plan, losses: Any, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""
    xp = _namespace(losses)
    possible = losses >= plan.loss_min
    if plan.n_nan:
        possible = possible | xp.isnan(losses)
    return int(xp.count_nonzero(~possible))


def grouped_losses(losses: Any, groups: GroupNumbers, threads: int | None = None) -> GroupedLosses:  # noqa: ARG001
    """Return the losses by group."""
    xp = _namespace(losses, GROUP_FUNCTIONS)
    return GroupedLosses(xp, losses, groups, dtype_name(losses), _find_invalid_weights)


def _namespace(losses: Any, functions: tuple[str, ...] = FUNCTIONS) -> Any:
    """Return the array namespace of `losses`; raise a TypeError if it lacks a function that is used here."""
    xp = array_namespace(losses)
    missing = [name for name in functions if not hasattr(xp, name)]
    if missing:
        raise TypeError(
            f"losses are of type {type(losses).__name__}, whose array namespace lacks {', '.join(missing)}; "
            "convert them to NumPy or torch"
        )
    return xp


def dtype_name(array: Any) -> str:
    """Return the bare name of an array's type: ``"float32"`` for ``torch.float32`` and for NumPy's alike."""
    return str(array.dtype).rpartition(".")[2]
