"""The compiled CUDA kernels, `rrm_core._cuda`: on the caller's stream, in memory from the caller's own allocator.

Nothing waits for the device until a field of the plan is read. Only `count_foreign` does: its answer is a number.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

from array_api_compat import is_jax_array

from ..definition.formats import BY_NAME, Format
from ..definition.pending_plan import pending_plan
from ..definition.plan import Plan, plan_from_kernel
from ..definition.rule import Rule
from .cuda_interop import Memory, Stream, device_of, empty, is_contiguous, locate, stream_of


def is_available() -> bool:
    """Return whether the extension was built and finds a device. One that doesn't load raises its own error."""
    return find_spec("rrm_core._cuda") is not None and _devices()[0] > 0


@cache
def _devices() -> tuple[int, str]:
    from .. import _cuda

    return _cuda.device_count()


@cache
def _extension() -> ModuleType:
    if find_spec("rrm_core._cuda") is None:
        raise ImportError(
            "backend 'cuda' needs the compiled module rrm_core._cuda, which is not there; build it where nvcc is on "
            "PATH: pip install . --config-settings=cmake.define.RRM_CUDA=ON"
        )
    count, reason = _devices()
    if count == 0:
        raise RuntimeError(f"backend 'cuda' finds no CUDA device: {reason}")
    from .. import _cuda

    return _cuda


class _Losses(NamedTuple):
    """The losses of one call, and where it runs."""

    memory: Memory
    n: int
    format: Format
    device: int
    stream: Stream
    waits: bool  # the framework can't be told to wait for the stream, so the call does


def plan(losses: Any, rule: Rule, threads: int | None = None) -> Plan:  # noqa: ARG001
    """Return the plan for `losses`, a 1-D CUDA array, before the device has made it."""
    with device_of(losses)():
        return _enqueue(losses, rule, 1.0, None, None, fresh=False)


def reweight(
    losses: Any,
    rule: Rule,
    weights: Any | None,
    mu: float,
    out: Any | None,
    threads: int | None = None,  # noqa: ARG001
) -> tuple[Any, Plan]:
    """Plan, and return the new weights, in `out` if given, with the plan, before the device has made either."""
    with device_of(losses)():
        new = _output(losses, out)
        plan = _enqueue(losses, rule, mu, weights, new, fresh=out is None)
        return _delivered(new, out), plan


def apply(
    plan: Plan,
    losses: Any,
    weights: Any | None,
    mu: float,
    out: Any | None,
    threads: int | None = None,  # noqa: ARG001
) -> Any:
    """Return the new weights, in `out` if given; `weights` None stands for ones."""
    with device_of(losses)():
        c, new = _open(losses), _output(losses, out)
        target, old = _operand("out", new, c), None if weights is None else _operand("weights", weights, c)
        _extension().apply(
            c.memory.address,
            c.format.code,
            c.n,
            plan.threshold,
            plan.recipient_threshold,
            plan.levels,
            mu,
            old.address if old else 0,
            target.address,
            c.device,
            c.stream.handle,
        )
        _close(c, old, target)
        return _delivered(new, out)


def count_foreign(plan: Plan, losses: Any, threads: int | None = None) -> int:  # noqa: ARG001
    """Return how many losses lie below the plan's minimum, or are NaN though it has none."""
    allow_nan = plan.n_nan > 0
    with device_of(losses)():
        c = _open(losses)
        counter = _scratch(losses, 8, c)
        return int(
            _extension().count_foreign(
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


def _enqueue(losses: Any, rule: Rule, mu: float, weights: Any | None, out: Any | None, *, fresh: bool) -> Plan:
    cuda, c = _extension(), _open(losses)
    old = None if weights is None else _operand("weights", weights, c)
    target = None if out is None else _operand("out", out, c)
    question = _question(rule, c.n)
    # The outcome stays until the plan is read, the workspace until the stream is done with it: that is when the
    # framework's allocator gives the memory to somebody else.
    outcome = _scratch(losses, cuda.OUTCOME_BYTES, c)
    workspace = _scratch(losses, cuda.workspace_bytes(c.format.code, c.n, question, c.device), c)
    cuda.reweight(
        c.memory.address,
        c.format.code,
        c.n,
        question,
        mu,
        old.address if old else 0,
        target.address if target else 0,
        fresh,
        outcome.address,
        workspace.address,
        c.device,
        c.stream.handle,
    )
    _close(c, old, target, outcome, workspace)

    n, format, device, stream, current = c.n, c.format, c.device, c.stream, device_of(losses)

    def read() -> Plan:  # holds the outcome and the stream, not the losses
        with current():
            told = cuda.read_outcome(outcome.address, n, rule.nan == "prune", device, stream.handle)
        return plan_from_kernel(rule, format, n, *told)

    return pending_plan(n, format, rule, read)


def _open(losses: Any) -> _Losses:
    _extension()  # or what is missing, before anything else
    stream = stream_of(losses)
    memory = locate("losses", losses, stream)
    device = _device_of("losses", memory)
    _order(stream.handle, memory.stream, device)
    format = BY_NAME[str(losses.dtype).rpartition(".")[2]]
    return _Losses(memory, losses.shape[0], format, device, stream, is_jax_array(losses))


def _operand(name: str, array: Any, losses: _Losses) -> Memory:
    memory = locate(name, array, losses.stream)
    device = _device_of(name, memory)
    if device != losses.device:
        raise ValueError(
            f"{name} lies on CUDA device {device}, but losses lie on {losses.device}; move it to that device"
        )
    _order(losses.stream.handle, memory.stream, device)
    return memory


def _scratch(losses: Any, size: int, call: _Losses) -> Memory:
    """Return `size` bytes of device memory, from the allocator that `losses` have."""
    memory = locate("scratch memory", empty(losses, size, "uint8"), call.stream)
    _order(call.stream.handle, memory.stream, call.device)
    return memory


def _device_of(name: str, memory: Memory) -> int:
    if memory.device is not None:
        return memory.device
    device = int(_extension().memory_device(memory.address))
    if device < 0:
        raise ValueError(f"{name} is said to lie on a CUDA device, but address {memory.address:#x} is none of one")
    return device


def _close(losses: _Losses, *others: Memory | None) -> None:
    """Let whatever comes next on the streams of the arrays wait for this call."""
    for memory in (losses.memory, *others):
        if memory is not None and memory.stream is not None:
            _order(memory.stream, losses.stream.handle, losses.device)
    if losses.waits:
        _extension().synchronize(losses.device, losses.stream.handle)


def _order(stream: int, producer: int | None, device: int) -> None:
    if producer is not None and producer != stream:
        _extension().order_after(stream, producer, device)


def _output(losses: Any, out: Any | None) -> Any:
    if out is not None and is_contiguous(out):
        return out
    name = str(losses.dtype).rpartition(".")[2]
    new = empty(losses, losses.shape[0], BY_NAME[name].weights.name)
    if out is not None:  # of which nothing changes if the losses are refused
        new[...] = out
    return new


def _delivered(new: Any, out: Any | None) -> Any:
    if out is None or new is out:
        return new
    out[...] = new
    return out


@lru_cache(maxsize=64)
def _question(rule: Rule, n: int) -> Any:
    """Return the rule as the extension knows it."""
    return _extension().Rule(*rule.ranks(n))
