"""Helpers for a model's train/eval mode, device and precision."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


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


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy the tensor to `device`, asynchronously unless that is the CPU."""
    return tensor.to(device, non_blocking=device.type != "cpu")
