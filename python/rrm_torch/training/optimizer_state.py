"""Checks of the states of torch's optimizers and schedulers, whose ``load_state_dict`` takes any values."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

PARAMETER_SHAPED = {
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg", "acc_delta"),
    *("sum", "ax", "prev", "step_size", "variance"),
}
"""What torch's optimizers call the entries that have the shape of their parameter."""


def check_optimizer_state(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Raise ValueError unless the entries of a state have the kinds and shapes of this optimizer's."""
    if not isinstance(state, dict):
        raise ValueError(f"the state of an optimizer must be a dict, got {type(state).__name__}")
    groups = state.get("param_groups")
    values = state.get("state")
    if not isinstance(groups, list) or not isinstance(values, dict) or len(groups) != len(optimizer.param_groups):
        raise ValueError(f"the state must have {len(optimizer.param_groups)} param_groups, a list, and a dict 'state'")
    parameters: dict[Any, Tensor] = {}
    for saved, group in zip(groups, optimizer.param_groups, strict=True):
        options = {name: value for name, value in group.items() if name != "params"}
        _check_entries("param_groups", saved, options, optimizer.defaults)
        indices = saved.get("params")
        if (
            not isinstance(indices, list)
            or len(indices) != len(group["params"])
            or any(type(i) is not int for i in indices)
        ):
            raise ValueError(f"a group must have a list of {len(group['params'])} params")
        parameters.update(zip(indices, group["params"], strict=True))
    for index, entries in values.items():
        if index in parameters:
            _check_parameter_state(index, entries, parameters[index])


def check_scheduler_state(scheduler: torch.optim.lr_scheduler.LRScheduler, state: Any) -> None:
    """Raise ValueError unless a state has the attributes of this scheduler: loading would set any others, too."""
    current = scheduler.state_dict()
    _check_entries("the state", state, current, current)
    if unknown := sorted(map(str, state.keys() - current.keys())):
        raise ValueError(f"the state has {', '.join(unknown)}, which {type(scheduler).__name__} does not have")


def _check_parameter_state(index: int, entries: Any, parameter: Tensor) -> None:
    """Raise ValueError unless an optimizer's entries for a parameter fit it."""
    if not isinstance(entries, dict):
        raise ValueError(f"the state of parameter {index} must be a dict, got {type(entries).__name__}")
    for name, value in entries.items():
        shape = tuple(value.shape) if isinstance(value, Tensor) else None
        if name == "step" and not _is_number(value):
            raise ValueError(f"step of parameter {index} must be a number")
        if name in PARAMETER_SHAPED and value is not None and shape != tuple(parameter.shape):
            raise ValueError(f"{name} of parameter {index} must have shape {tuple(parameter.shape)}, got {shape}")
        if isinstance(value, Tensor) and value.is_complex() and not parameter.is_complex():
            raise ValueError(f"{name} of parameter {index} is complex")


def _check_entries(name: str, saved: Any, current: dict[str, Any], required: Collection[str]) -> None:
    """Raise ValueError unless `saved` is a dict with the required keys, and values of the kinds in `current`."""
    if not isinstance(saved, dict):
        raise ValueError(f"{name} must hold a dict, got {type(saved).__name__}")
    for key, value in current.items():
        if key in saved:
            if not _is_of_kind(saved[key], value):
                raise ValueError(f"{key} is a {type(saved[key]).__name__} in {name}, and a {type(value).__name__} here")
        # An older torch lacks some options, for which this one has a default.
        elif key in required and value is not None and not isinstance(value, bool):
            raise ValueError(f"{name} lacks {key}")


def _is_of_kind(saved: Any, current: Any) -> bool:
    """Return whether a saved value can replace the current one."""
    if current is None:
        return True
    if isinstance(current, bool):
        # Options such as `foreach` are on, off, or left to torch.
        return isinstance(saved, bool) or saved is None
    if _is_number(current):
        return _is_number(saved)
    if isinstance(current, tuple):
        # ``torch.load`` keeps tuples, other formats make lists of them.
        is_sequence = isinstance(saved, (tuple, list)) and len(saved) == len(current)
        return is_sequence and all(map(_is_of_kind, saved, current))
    if isinstance(current, list):
        return isinstance(saved, (tuple, list)) and all(_is_of_kind(item, current[0]) for item in saved if current)
    return isinstance(saved, type(current))


def _is_number(value: Any) -> bool:
    """Whether a value is a real number, or a tensor of one."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and value.dtype != torch.bool
    return isinstance(value, (int, float)) and not isinstance(value, bool)
