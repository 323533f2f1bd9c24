"""The compiled CUDA backend, `rrm_core._cuda`: on the caller's stream, with memory from the caller's own allocator.

No function waits for the device, except `count_foreign`, which returns a number, and `apply`, which returns the invalid
old weights. The plan waits when one of its computed fields is read.
"""

from __future__ import annotations

from functools import cache, lru_cache
from types import ModuleType
from typing import Any, NamedTuple

from array_api_compat import is_jax_array

from ..definition.formats import BY_NAME, Format
from ..definition.group_numbers import GroupNumbers
from ..definition.group_thresholds import GroupedLosses
from ..definition.old_weights import InvalidWeights, raise_invalid_weights
from ..definition.pending_plan import pending_plan
from ..definition.plan import Plan, plan_from_kernel
from ..definition.rule import Rule
from .cuda_interop import Memory, Stream, device_context, empty, is_contiguous, locate, stream_of
from .errors import NoDeviceError
from .extension import load_extension

HOW_TO_BUILD = (
    "build it where nvcc is on PATH, from a checkout: "
    "RRM_REQUIRE_COMPILED=1 pip install . --config-settings=cmake.define.RRM_CUDA=ON"
)


def check_available() -> None:
    """Load the extension.

    Raises
    ------
    ImportError
        It was not built, cannot be loaded, or was built for other Python files.
    NoDeviceError
        There is no CUDA device.
    """
    _extension()


@cache
def _extension() -> ModuleType:
    cuda = load_extension("cuda", "rrm_core._cuda", HOW_TO_BUILD)
    count, reason = cuda.device_count()
    if count == 0:
        raise NoDeviceError(f"backend 'cuda' finds no CUDA device: {reason}")
    return cuda


class _Losses(NamedTuple):
    """The losses of one call, in device memory, and the stream that the call uses.

    Attributes
    ----------
    memory : Memory
    n : int
        Number of samples.
    format : Format
    device : int
    stream : Stream
    must_synchronize : bool
        Whether the call waits for the stream, because the framework cannot be told to wait for it.
    """

    memory: Memory
    n: int
    format: Format
    device: int
    stream: Stream
    must_synchronize: bool


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
        new = _allocate_result(losses, out)
        plan = _enqueue(losses, rule, old_weights, mu, new, out_is_new=out is None)
        return _copy_to_out(new, out), plan, None


def apply(
    plan: Plan,
    losses: Any,
    old_weights: Any | None,
    mu: float,
    out: Any | None,
    threads: int | None = None,  # noqa: ARG001
) -> tuple[Any, InvalidWeights | None]:
    """Return the new weights, in `out` if given, and the invalid old weights; `old_weights` None stands for ones."""
    cuda = _extension()
    with device_context(losses)():
        c = _locate_losses(losses)
        new = _allocate_result(losses, out)
        target = _locate_argument("out", new, c)
        old = outcome = None
        if old_weights is not None:
            old = _locate_argument("weights", old_weights, c)
            outcome = _scratch(losses, cuda.APPLY_OUTCOME_BYTES, c)
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
        _release(c, old, target, outcome)
        return _copy_to_out(new, out), None if invalid is None else InvalidWeights(*invalid)


def count_foreign(plan: Plan, losses: Any, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though the planned losses had no NaN."""
    # A pending plan is read here, before the stream of the losses is used.
    allow_nan = plan.n_nan > 0
    cuda = _extension()
    with device_context(losses)():
        c = _locate_losses(losses)
        counter = _scratch(losses, 8, c)
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
    raise RuntimeError("backend 'cuda' has no kernels for groups; pass backend='array_api'")


def _enqueue(losses: Any, rule: Rule, old_weights: Any | None, mu: float, out: Any | None, *, out_is_new: bool) -> Plan:
    cuda = _extension()
    c = _locate_losses(losses)
    old = None if old_weights is None else _locate_argument("weights", old_weights, c)
    target = None if out is None else _locate_argument("out", out, c)
    kernel_rule = _kernel_rule(rule, c.n)
    # The outcome is kept until the plan is read. The workspace is released now: the framework's allocator reuses it
    # once the stream has finished with it.
    outcome = _scratch(losses, cuda.OUTCOME_BYTES, c)
    workspace = _scratch(losses, cuda.workspace_bytes(c.format.code, c.n, kernel_rule, c.device), c)
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
    _release(c, old, target, outcome, workspace)

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


def _locate_losses(losses: Any) -> _Losses:
    stream = stream_of(losses)
    memory = locate("losses", losses, stream)
    device = _device_number("losses", memory)
    _wait_for(memory.stream, stream.handle, device)
    format = BY_NAME[str(losses.dtype).rpartition(".")[2]]
    return _Losses(memory, losses.shape[0], format, device, stream, is_jax_array(losses))


def _locate_argument(name: str, array: Any, losses: _Losses) -> Memory:
    memory = locate(name, array, losses.stream)
    device = _device_number(name, memory)
    if device != losses.device:
        raise ValueError(
            f"{name} lies on CUDA device {device}, but losses lie on {losses.device}; move it to that device"
        )
    _wait_for(memory.stream, losses.stream.handle, device)
    return memory


def _scratch(losses: Any, size: int, call: _Losses) -> Memory:
    """Return `size` bytes of device memory from the allocator of the framework of `losses`."""
    memory = locate("scratch memory", empty(losses, size, "uint8"), call.stream)
    _wait_for(memory.stream, call.stream.handle, call.device)
    return memory


def _device_number(name: str, memory: Memory) -> int:
    if memory.device is not None:
        return memory.device
    device = int(_extension().memory_device(memory.address))
    if device < 0:
        raise ValueError(f"{name} claims to be on a CUDA device, but address {memory.address:#x} is not on one")
    return device


def _release(losses: _Losses, *others: Memory | None) -> None:
    """Make later work on the arrays' own streams wait for this call."""
    for memory in (losses.memory, *others):
        if memory is not None and memory.stream is not None:
            _wait_for(losses.stream.handle, memory.stream, losses.device)
    if losses.must_synchronize:
        _extension().synchronize(losses.device, losses.stream.handle)


def _wait_for(producer: int | None, stream: int, device: int) -> None:
    """Make `stream` wait for the work that has been submitted to the stream `producer`."""
    if producer is not None and producer != stream:
        _extension().order_after(stream, producer, device)


def _allocate_result(losses: Any, out: Any | None) -> Any:
    """Return contiguous memory for the new weights: `out` itself, or a new array, a copy of `out` if that is given."""
    if out is not None and is_contiguous(out):
        return out
    dtype = str(losses.dtype).rpartition(".")[2]
    new = empty(losses, losses.shape[0], BY_NAME[dtype].weights.name)
    if out is not None:
        # If the losses are refused, the kernel leaves the memory as it is, and so `out` keeps its values.
        new[...] = out
    return new


def _copy_to_out(new: Any, out: Any | None) -> Any:
    if out is None or new is out:
        return new
    out[...] = new
    return out


@lru_cache(maxsize=64)
def _kernel_rule(rule: Rule, n: int) -> Any:
    """Return the rule for `n` samples as an object of the extension."""
    return _extension().Rule(*rule.ranks(n))
