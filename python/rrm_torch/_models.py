"""Helpers for a model's train/eval mode, device and precision, and for moving its inputs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

T = TypeVar("T")


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and restore each module's own mode afterwards, e.g. of frozen layers."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def no_grad_context(model: nn.Module) -> AbstractContextManager[Any]:
    """Return inference mode, or `torch.no_grad` for a model sharded by FSDP, whose first pass inference mode breaks."""
    # A model can only hold a DTensor if this module has been imported.
    tensors = sys.modules.get("torch.distributed.tensor")
    if tensors is not None and any(isinstance(parameter, tensors.DTensor) for parameter in model.parameters()):
        return torch.no_grad()
    return torch.inference_mode()


def autocast_context(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Return autocast to `dtype`; for None, a null context, which leaves the caller's own autocast in force."""
    if dtype is None:
        return nullcontext()
    return torch.autocast(device.type, dtype)


def unwrap_ddp(model: nn.Module) -> nn.Module:
    """Return the module inside DistributedDataParallel, whose forward communicates even in evaluation mode."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's first parameter; the CPU if it has no parameters."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def to_device(values: T, device: torch.device) -> T:
    """Copy the tensors in a nesting of containers to `device`, asynchronously unless that is the CPU; see `map_leaves`.

    Other objects with a method ``to``, such as packed sequences, are moved by it; anything else stays as it is.
    """
    non_blocking = device.type != "cpu"

    def move(leaf: Any) -> Any:
        return leaf.to(device, non_blocking=non_blocking) if callable(getattr(leaf, "to", None)) else leaf

    return map_leaves(move, values)


def to_numpy(tensor: Tensor) -> npt.NDArray[Any]:
    """Return the values of a tensor on any device as an array; bfloat16, which NumPy lacks, as float32."""
    values = tensor.detach().resolve_conj().resolve_neg().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def map_leaves(function: Callable[[Any], Any], values: T) -> T:
    """Apply a function to whatever is in a nesting of mappings, lists, tuples and dataclasses, keeping their types."""
    return cast("T", _map_leaves(function, values))


def _map_leaves(function: Callable[[Any], Any], values: Any) -> Any:
    if isinstance(values, Tensor):
        return function(values)
    if isinstance(values, MutableMapping):
        # A copy keeps the other attributes of a subclass, such as those of the batches of Hugging Face's tokenizers.
        mapped = copy(values)
        for key, value in values.items():
            mapped[key] = _map_leaves(function, value)
        return mapped
    if isinstance(values, Mapping):
        return {key: _map_leaves(function, value) for key, value in values.items()}
    if isinstance(values, (list, tuple)) and not isinstance(values, PackedSequence):
        items = [_map_leaves(function, value) for value in values]
        return type(values)(*items) if hasattr(values, "_fields") else type(values)(items)
    if is_dataclass(values) and not isinstance(values, type) and not hasattr(values, "to"):
        names = [field.name for field in fields(values) if field.init]
        return replace(values, **{name: _map_leaves(function, getattr(values, name)) for name in names})
    return function(values)
