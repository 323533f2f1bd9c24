"""Array frameworks of the tests: conversion from and to NumPy."""

from __future__ import annotations

import sys
from typing import Any

import array_api_strict
import numpy as np
import torch

# Declared, not discovered. JAX has no release for Python 3.10.
FRAMEWORKS = ("numpy", "torch", "strict", *(("jax",) if sys.version_info >= (3, 11) else ()))
# Memory that NumPy cannot access.
DEVICE = array_api_strict.Device("device1")


def holds(framework: str, dtype: str) -> bool:
    """Return whether a framework has a type; JAX has float64 only after `enable_x64`."""
    return (
        framework in ("numpy", "torch")
        or dtype == "float32"
        or (framework, dtype) == ("strict", "float64")
        or (framework == "jax" and dtype != "float64")
    )


def make(framework: str, array: np.ndarray) -> Any:
    """Return a copy of a NumPy array (ml_dtypes' bfloat16 included) in a framework."""
    array = np.array(array)
    if framework == "torch":
        if array.dtype.name == "bfloat16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)
    if framework == "strict":
        return array_api_strict.asarray(array, device=DEVICE)
    if framework == "jax":
        import jax

        return jax.numpy.asarray(array)
    return array


def to_numpy(array: Any) -> np.ndarray:
    """Return an array of any framework as a NumPy array."""
    if isinstance(array, torch.Tensor):
        return array.detach().numpy()
    if isinstance(array, array_api_strict._array_object.Array):
        return np.asarray(array_api_strict.asarray(array, device=array_api_strict.Device("CPU_DEVICE")))
    return np.asarray(array)
