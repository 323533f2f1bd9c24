"""Reading and checking the arrays of data files, without running code that a file may contain."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

# The function by which a pickled array is reconstructed, and its names: NumPy 2 renamed numpy.core, and either version
# must read what either version wrote.
RECONSTRUCT: Any = np.empty(0).__reduce__()[0]
RECONSTRUCT_NAMES = ("numpy.core.multiarray", "numpy._core.multiarray")


def check_labels(name: str, values: Any, n_classes: int, n: int | None = None) -> Tensor:
    """Return labels as int64.

    Parameters
    ----------
    name : str
        Name for error messages.
    values : array-like of integers, shape (n,)
        In [0, n_classes).
    n_classes : int
    n : int, optional
        Expected number of labels.

    Raises
    ------
    ValueError
        The shape or a value is wrong.
    TypeError
        The labels are not integers.
    """
    try:
        labels = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        raise ValueError(f"{name} must have shape (n,), one label per image: {error}") from error
    if labels.ndim != 1 or not len(labels):
        raise ValueError(f"{name} must have shape (n,), one label per image, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, got {labels.dtype}")
    if n is not None and len(labels) != n:
        raise ValueError(f"{name} must have one label per image, got {len(labels)} for {n}")
    if labels.min() < 0 or labels.max() >= n_classes:
        extreme = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"{name} must lie in [0, {n_classes}), one label for each class, got {extreme}")
    return torch.from_numpy(labels.astype(np.int64))
