"""The mode and the device of a model, and the way there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode; afterwards give each module its own mode back, frozen ones included."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def inference(model: nn.Module) -> AbstractContextManager[Any]:
    """Return the context of a pass that learns nothing: inference mode, which FSDP's first pass doesn't bear."""
    tensors = sys.modules.get("torch.distributed.tensor")  # where nobody has loaded it, nothing is sharded
    sharded = tensors is not None and any(isinstance(parameter, tensors.DTensor) for parameter in model.parameters())
    return torch.no_grad() if sharded else torch.inference_mode()


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model within DistributedDataParallel, which talks to other ranks even where nothing is learnt."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the model's parameters; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on a device, without waiting for it; towards the host one has to wait."""
    return tensor.to(device, non_blocking=device.type != "cpu")
