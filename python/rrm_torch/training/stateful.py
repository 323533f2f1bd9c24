"""Objects with a state that training changes: loading one, and putting back the old one if that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from .._checks import check_state_of_module
from .._rollback import (
    attribute_restorer,
    generator_restorer,
    module_restorer,
    optimizer_restorer,
    state_restorer,
)
from ..distributed import FullState
from ..distributed.full_state import full_state_restorer, load_full_state
from ..losses.elr import ELR
from ..weighting.base import BaseRRM
from .history import History
from .optimizer_state import check_optimizer_state, check_scheduler_state


@runtime_checkable
class Stateful(Protocol):
    """An object with a state, such as a model, an optimizer, a scheduler, an RRM, a History or an ELR."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Restore the state."""


def load_into(value: Any, state: Any) -> None:
    """Load a state into an object."""
    if isinstance(value, torch.Generator):
        value.set_state(state)
        return
    if isinstance(value, nn.Module):
        check_state_of_module(value, state)
    elif isinstance(value, torch.optim.lr_scheduler.LRScheduler):
        check_scheduler_state(value, state)
    elif _is_plain_optimizer(value):
        check_optimizer_state(value, state)
    if isinstance(value, FullState):
        load_full_state(value, state)
    else:
        value.load_state_dict(state)


def restorer_of(value: Any) -> Callable[[], None]:
    """Return a function that puts back the current state of an object."""
    if isinstance(value, torch.Generator):
        return generator_restorer(value)
    if isinstance(value, nn.Module):
        return module_restorer(value)
    if isinstance(value, FullState):
        return full_state_restorer(value)
    if isinstance(value, (BaseRRM, History, ELR)):
        return attribute_restorer(value)
    if _is_plain_optimizer(value):
        return optimizer_restorer(value)
    return state_restorer(value)


def _is_plain_optimizer(value: Any) -> bool:
    """Whether an object is an optimizer that loads a state in torch's way."""
    return type(value).load_state_dict is torch.optim.Optimizer.load_state_dict
