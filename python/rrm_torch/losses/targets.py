"""A batch's outputs and labels, checked against each other: what every loss and every accuracy starts from.

Shapes and types are always checked. Values are checked where that needs no waiting: on the host, outside
`torch.func.vmap` and traced functions. On a GPU a class out of range fails an assertion of torch, and soft labels
aren't checked.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from .._checks import column_remedy

IGNORED_CLASS = -100
"""The class of a sample or a token without a label, as in torch. The loss of such a sample is NaN."""

SUM_TOLERANCE = 0.01
"""Largest deviation from 1 of the sum of soft labels; rounding to bfloat16 changes a sum by up to 0.004."""

T = TypeVar("T")


class Targets(NamedTuple):
    """Outputs and labels that fit each other."""

    outputs: Tensor
    """Logits, at least float32, shape (batch, n_classes)."""
    y: Tensor
    """Classes, int64, shape (batch,), 0 where there is no label; or soft labels of the type and shape of `outputs`."""
    ignored: Tensor | None
    """Which samples have no label: bool, shape (batch,); None if all have one."""

    def mask(self, losses: Tensor) -> Tensor:
        """Return losses of shape (batch,), NaN for samples without a label, which get no gradient."""
        if self.ignored is None:
            return losses
        return torch.where(self.ignored, torch.nan, losses)


def read_targets(outputs: object, y: object, *, ignore_index: int = IGNORED_CLASS) -> Targets:
    """Check logits and labels against each other, and convert them.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_classes)
        Floating-point logits of at least two classes.
    y : Tensor, shape (batch,) or (batch, n_classes)
        Integer classes; or floating soft labels, whose rows are distributions, or all 0 for a sample without a label.
    ignore_index : int, default -100
        The class of a sample without a label.

    Raises
    ------
    TypeError
        One of them isn't a tensor, or has the wrong type.
    ValueError
        A shape is wrong, or soft labels on the host aren't distributions.
    IndexError
        A class on the host is out of range.
    """
    logits = check_logits(outputs)
    labels = _check_label_type(y)
    soft = labels.is_floating_point()
    expected_shape = logits.shape if soft else logits.shape[:1]
    if labels.shape != expected_shape:
        raise ValueError(
            f"y must have shape {tuple(logits.shape[:1])}, as classes, or {tuple(logits.shape)}, as floating soft "
            f"labels, to fit the outputs, got {tuple(labels.shape)} of {labels.dtype}{_shape_remedy(labels)}"
        )
    logits = full_precision(logits)
    if soft:
        return _read_soft_labels(logits, labels.to(logits.dtype))
    return _read_classes(logits, labels, ignore_index)


def read_classes(outputs: object, y: object) -> Targets:
    """Check logits and integer classes against each other, as `read_targets` does, and refuse soft labels.

    Raises
    ------
    TypeError, ValueError, IndexError
        As `read_targets`.
    """
    labels = _check_label_type(y)
    if labels.is_floating_point():
        raise TypeError(
            f"y must hold integer classes, got {labels.dtype}; convert with y.long(), or soft labels with y.argmax(1)"
        )
    return read_targets(outputs, labels)


def check_logits(outputs: object) -> Tensor:
    """Return the outputs of a classifier.

    Raises
    ------
    TypeError
        `outputs` isn't a tensor of real floating-point numbers.
    ValueError
        Its shape isn't (batch, n_classes), with at least two classes.
    """
    logits = check_floating("outputs", outputs)
    if logits.ndim != 2:
        raise ValueError(
            f"outputs must have shape (batch, n_classes), got {tuple(logits.shape)}; for several labels per sample, "
            "such as tokens or pixels, use losses.token_cross_entropy or losses.pool"
        )
    check_n_classes(logits)
    return logits


def check_n_classes(outputs: Tensor) -> None:
    """Raise a ValueError if the last dimension of the outputs has a single column, whose softmax is always 1."""
    if outputs.shape[-1] < 2:
        raise ValueError(
            f"outputs must have a column for each of at least 2 classes, got shape {tuple(outputs.shape)}; for a "
            "single logit use losses.binary_cross_entropy, for regression a loss of your own such as "
            "lambda outputs, y: (outputs - y).square().mean(1)"
        )


def check_real(name: str, values: object) -> Tensor:
    """Return a tensor of real numbers; TypeError if `values` is anything else."""
    if not isinstance(values, Tensor):
        hint = "; make the model return its logits" if hasattr(values, "logits") else ""
        raise TypeError(f"{name} must be a tensor, got {type(values).__name__}{hint}")
    if values.is_complex():
        raise TypeError(f"{name} must be real numbers, got {values.dtype}")
    return values


def check_floating(name: str, values: object) -> Tensor:
    """Return a tensor of real floating-point numbers; TypeError if `values` is anything else."""
    tensor = check_real(name, values)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating-point numbers, got {tensor.dtype}")
    return tensor


def host_range(values: Tensor) -> tuple[float, float] | None:
    """Return the smallest and the largest value, NaN if one is NaN; None where that can't be read without waiting."""
    if values.device.type != "cpu" or not values.numel() or torch.compiler.is_compiling():
        return None
    try:
        low, high = values.aminmax()
        return low.item(), high.item()
    except RuntimeError:
        # Inside vmap, and in a function traced with fake tensors, there is no number to read.
        return None


def full_precision(values: T) -> T:
    """Convert a half-precision tensor to float32; return anything else, such as a dict of outputs, unchanged."""
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.dtype.itemsize >= 4:
        return values
    return cast("T", values.float())


def _check_label_type(y: object) -> Tensor:
    if not isinstance(y, Tensor):
        raise TypeError(f"y must be a tensor, got {type(y).__name__}; convert with torch.as_tensor(y)")
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"y must hold integer classes or floating soft labels, got {y.dtype}; convert with y.long()")
    return y


def _shape_remedy(labels: Tensor) -> str:
    if labels.ndim == 1 and labels.is_floating_point():
        return "; convert classes with y.long()"
    return column_remedy("y", labels.shape)


def _read_classes(logits: Tensor, labels: Tensor, ignore_index: int) -> Targets:
    classes = labels.to(torch.int64)
    ignored = None
    value_range = host_range(classes)
    if value_range is None or value_range[0] <= ignore_index <= value_range[1]:
        ignored = classes == ignore_index
        classes = torch.where(ignored, 0, classes)
        value_range = host_range(classes)
    if value_range is not None and not (value_range[0] >= 0 and value_range[1] < logits.shape[1]):
        invalid = value_range[0] if value_range[0] < 0 else value_range[1]
        raise IndexError(
            f"y must hold classes in [0, {logits.shape[1]}), the columns of the outputs, or {ignore_index} for no "
            f"label, got {invalid}, which is out of bounds"
        )
    return Targets(logits, classes, ignored)


def _read_soft_labels(logits: Tensor, soft: Tensor) -> Targets:
    check_probabilities(soft)
    sums = soft.sum(1)
    ignored = None
    value_range = host_range(sums)
    if value_range is None or value_range[0] == 0:
        # Not from the sums, which could also be 0 where labels on a GPU aren't probabilities.
        ignored = (soft == 0).all(1)
        value_range = host_range(torch.where(ignored, 1, sums))
    if value_range is not None and not (value_range[0] >= 1 - SUM_TOLERANCE and value_range[1] <= 1 + SUM_TOLERANCE):
        invalid = value_range[0] if value_range[0] < 1 - SUM_TOLERANCE else value_range[1]
        raise ValueError(f"y, as soft labels, must have rows that sum to 1, got {invalid:g}; divide each by its sum")
    return Targets(logits, soft, ignored)


def check_probabilities(y: Tensor) -> None:
    """Raise a ValueError unless all values lie in [0, 1], where they can be read without waiting."""
    value_range = host_range(y)
    if value_range is not None and not (value_range[0] >= 0 and value_range[1] <= 1):
        invalid = value_range[1] if value_range[0] >= 0 else value_range[0]
        raise ValueError(f"y must hold probabilities in [0, 1], got {invalid:g}")
