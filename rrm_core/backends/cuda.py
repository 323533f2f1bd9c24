"""The compiled CUDA backend, `rrm_core._cuda`: on the caller's stream, with memory from the caller's own allocator.

No function waits for the device, except `count_foreign`, which returns a number, and `apply`, which returns the invalid
old weights. The plan waits when one of its computed fields is read. For losses with groups see `cuda_groups`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..definition.group_numbers import GroupNumbers
from ..definition.old_weights import InvalidWeights, raise_invalid_weights
from ..definition.pending_plan import pending_plan
from ..definition.plan import Plan, plan_from_kernel
from ..definition.rule import Rule
from .cuda_call import (
    allocate_result,
    allocate_scratch,
    copy_to_out,
    extension,
    locate_argument,
    locate_losses,
    release,
)
from .cuda_groups import GroupedLosses
from .cuda_interop import device_context


def check_available() -> None:
    """Load the extension.

    Raises
    ------
    ImportError
        It was not built, cannot be loaded, or was built for other Python files.
    NoDeviceError
        There is no CUDA device.
    """
    extension()


def plan(losses: Any, rule: Rule, threads: int | None = None) -> Plan:  # noqa: ARG001
    """Return a pending plan for `losses`, a 1-D CUDA array."""
    with device_context(losses)():
        return _enqueue(losses, rule, None, 1.0, None, out_is_new=False)


def reweight(
    losses: Any,
    rule: Rule,
    old_weights: Any | None,
    mu: float,
    out: Any | None,
    threads: int | None = None,  # noqa: ARG001
) -> tuple[Any, Plan, None]:
    """Return the new weights, in `out` if given, and a pending plan; the device may not have computed either yet."""
    with device_context(losses)():
        new = allocate_result(losses, out)
        plan = _enqueue(losses, rule, old_weights, mu, new, out_is_new=out is None)
        return copy_to_out(new, out), plan, None


def apply(
    plan: Plan,
    losses: Any,
    old_weights: Any | None,
    mu: float,
    out: Any | None,
    threads: int | None = None,  # noqa: ARG001
) -> tuple[Any, InvalidWeights | None]:
    """Return the new weights, in `out` if given, and the invalid old weights; `old_weights` None stands for ones."""
    cuda = extension()
    with device_context(losses)():
        c = locate_losses(losses)
        new = allocate_result(losses, out)
        target = locate_argument("out", new, c)
        old = outcome = None
        if old_weights is not None:
            old = locate_argument("weights", old_weights, c)
            outcome = allocate_scratch(losses, cuda.APPLY_OUTCOME_BYTES, c)
        invalid = cuda.apply(
            c.memory.address,
            c.format.code,
            c.n,
            plan.threshold,
            plan.recipient_threshold,
            plan.levels,
            mu,
            old.address if old else 0,
            target.address,
            out is None,
            outcome.address if outcome else 0,
            c.device,
            c.stream.handle,
        )
        release(c, old, target, outcome)
        return copy_to_out(new, out), None if invalid is None else InvalidWeights(*invalid)


def count_foreign(plan: Plan, losses: Any, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""
    # A pending plan is read here, before the stream of the losses is used.
    allow_nan = plan.n_nan > 0
    cuda = extension()
    with device_context(losses)():
        c = locate_losses(losses)
        counter = allocate_scratch(losses, 8, c)
        return int(
            cuda.count_foreign(
                c.memory.address,
                c.format.code,
                c.n,
                plan.loss_min,
                allow_nan,
                counter.address,
                c.device,
                c.stream.handle,
            )
        )


def grouped_losses(losses: Any, groups: GroupNumbers, threads: int | None = None) -> GroupedLosses:  # noqa: ARG001
    """Return the losses by group."""
    return GroupedLosses(losses, groups)


def _enqueue(losses: Any, rule: Rule, old_weights: Any | None, mu: float, out: Any | None, *, out_is_new: bool) -> Plan:
    cuda = extension()
    c = locate_losses(losses)
    old = None if old_weights is None else locate_argument("weights", old_weights, c)
    target = None if out is None else locate_argument("out", out, c)
    kernel_rule = _kernel_rule(rule, c.n)
    # The outcome is kept until the plan is read. The workspace is released now: the framework's allocator reuses it
    # once the stream has finished with it.
    outcome = allocate_scratch(losses, cuda.OUTCOME_BYTES, c)
    workspace = allocate_scratch(losses, cuda.workspace_bytes(c.format.code, c.n, kernel_rule, c.device), c)
    cuda.reweight(
        c.memory.address,
        c.format.code,
        c.n,
        kernel_rule,
        mu,
        old.address if old else 0,
        target.address if target else 0,
        out_is_new,
        outcome.address,
        workspace.address,
        c.device,
        c.stream.handle,
    )
    release(c, old, target, outcome, workspace)

    # `read` keeps the outcome and the stream, but not the losses.
    _, n, format, device, stream, _ = c
    current_device = device_context(losses)

    def read() -> Plan:
        with current_device():
            non_finite, outcome_fields, invalid = cuda.read_outcome(
                outcome.address, n, rule.nan == "prune", device, stream.handle
            )
        plan = plan_from_kernel(rule, format, n, non_finite, outcome_fields)
        if invalid is not None:
            raise_invalid_weights(InvalidWeights(*invalid), n, written=not out_is_new)
        return plan

    return pending_plan(n, format, rule, read)


@lru_cache(maxsize=64)
def _kernel_rule(rule: Rule, n: int) -> Any:
    """Return the rule for `n` samples as an object of the extension."""
    return extension().Rule(*rule.ranks(n))
