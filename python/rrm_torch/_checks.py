"""Argument checks that several packages share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from operator import index
from typing import TypeGuard

import torch
from torch import Tensor, nn


def check_count(name: str, value: object) -> int:
    """Return an integer of at least 1.

    Raises
    ------
    TypeError, ValueError
        `value` is not an integer, or below 1.
    """
    try:
        count = index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if isinstance(value, bool) or count < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return count


def column_remedy(name: str, shape: tuple[int, ...]) -> str:
    """Return what an error message adds about labels of shape (n, 1); otherwise an empty string."""
    if len(shape) == 2 and shape[1] == 1:
        return f"; labels in a column are {name}[:, 0]"
    return ""


def is_dense(value: object, dtypes: Collection[torch.dtype]) -> TypeGuard[Tensor]:
    """Return whether a value of a state is a tensor of one of these types whose elements can be read as an array."""
    if not isinstance(value, Tensor) or value.dtype not in dtypes:
        return False
    return value.layout == torch.strided and not value.is_nested and not value.is_meta


def check_state_of_module(module: nn.Module, state: object) -> None:
    """Raise unless `state` is a dict whose tensors have the types of the module's, to which loading converts silently.

    Raises
    ------
    ValueError
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"the state of a module must be a dict, got {type(state).__name__}")
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        saved = state.get(name)
        if isinstance(saved, Tensor) and saved.dtype != tensor.dtype:
            raise ValueError(f"{name} is {saved.dtype} in the state and {tensor.dtype} here")
