"""Copies on the host of arrays on devices."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import is_cupy_array, is_dask_array, is_jax_array, is_torch_array, to_device


def copy_to_host(x: Any) -> Any:
    """Return a copy on the host of an array on a device."""
    if is_torch_array(x) or is_cupy_array(x):
        return to_device(x, "cpu")
    if is_jax_array(x) or is_dask_array(x):
        # These have their own conversion, also for an array that is distributed over devices.
        return np.asarray(x)
    return np.from_dlpack(x)
