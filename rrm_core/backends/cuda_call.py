"""One call of the CUDA backend: where its arrays lie, its stream, and memory from the caller's framework."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from array_api_compat import is_jax_array

from ..definition.formats import BY_NAME, Format
from .cuda_interop import Memory, Stream, empty, is_contiguous, locate, stream_of
from .errors import NoDeviceError
from .extension import load_extension

HOW_TO_BUILD = (
    "build it where nvcc is on PATH, from a checkout: "
    "RRM_REQUIRE_COMPILED=1 pip install . --config-settings=cmake.define.RRM_CUDA=ON"
)


@cache
def extension() -> ModuleType:
    """Return the compiled module; for the errors see `check_available`."""
    cuda = load_extension("cuda", "rrm_core._cuda", HOW_TO_BUILD)
    count, reason = cuda.device_count()
    if count == 0:
        raise NoDeviceError(f"backend 'cuda' finds no CUDA device: {reason}")
    return cuda


class Losses(NamedTuple):
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


def locate_losses(losses: Any) -> Losses:
    """Return where the losses lie, ordered after the work that produces them."""
    stream = stream_of(losses)
    memory = locate("losses", losses, stream)
    device = _device_number("losses", memory)
    _wait_for(memory.stream, stream.handle, device)
    format = BY_NAME[str(losses.dtype).rpartition(".")[2]]
    return Losses(memory, losses.shape[0], format, device, stream, is_jax_array(losses))


def locate_argument(name: str, array: Any, losses: Losses) -> Memory:
    """Return where another argument lies, ordered after the work that produces it.

    Raises
    ------
    ValueError
        It lies on another device than the losses.
    """
    memory = locate(name, array, losses.stream)
    device = _device_number(name, memory)
    if device != losses.device:
        raise ValueError(
            f"{name} lies on CUDA device {device}, but losses lie on {losses.device}; move it to that device"
        )
    _wait_for(memory.stream, losses.stream.handle, device)
    return memory


def allocate_scratch(losses: Any, size: int, call: Losses) -> Memory:
    """Return `size` bytes of device memory from the allocator of the framework of `losses`."""
    memory = locate("scratch memory", empty(losses, size, "uint8"), call.stream)
    _wait_for(memory.stream, call.stream.handle, call.device)
    return memory


def _device_number(name: str, memory: Memory) -> int:
    if memory.device is not None:
        return memory.device
    device = int(extension().memory_device(memory.address))
    if device < 0:
        raise ValueError(f"{name} claims to be on a CUDA device, but address {memory.address:#x} is not on one")
    return device


def release(losses: Losses, *others: Memory | None) -> None:
    """Make later work on the arrays' own streams wait for this call."""
    for memory in (losses.memory, *others):
        if memory is not None and memory.stream is not None:
            _wait_for(losses.stream.handle, memory.stream, losses.device)
    if losses.must_synchronize:
        extension().synchronize(losses.device, losses.stream.handle)


def _wait_for(producer: int | None, stream: int, device: int) -> None:
    """Make `stream` wait for the work that has been submitted to the stream `producer`."""
    if producer is not None and producer != stream:
        extension().order_after(stream, producer, device)


def allocate_result(losses: Any, out: Any | None) -> Any:
    """Return contiguous memory for the new weights: `out` itself, or a new array, a copy of `out` if that is given."""
    if out is not None and is_contiguous(out):
        return out
    dtype = str(losses.dtype).rpartition(".")[2]
    new = empty(losses, losses.shape[0], BY_NAME[dtype].weights.name)
    if out is not None:
        # If the losses are refused, the kernel leaves the memory as it is, and so `out` keeps its values.
        new[...] = out
    return new


def copy_to_out(new: Any, out: Any | None) -> Any:
    """Return the new weights, in `out` if given."""
    if out is None or new is out:
        return new
    out[...] = new
    return out
