"""Per-sample losses, of shape (batch,).

Every function takes `outputs`, the model's logits, and `y`: classes, an integer tensor of shape (batch,), or soft
labels, a floating-point tensor of shape (batch, n_classes) whose rows are distributions. A sample of class -100, or
whose soft labels are all 0, has no label: its loss is NaN, with gradient 0. Half-precision outputs are converted to
float32. Label values are checked on the host; on a GPU, where that would wait for it, torch reports a class out of
range.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .pooling import Pooling
from .pooling import pool as _pool  # for functions with a parameter called `pool`
from .targets import (
    IGNORED_CLASS,
    check_floating,
    check_n_classes,
    check_probabilities,
    check_real,
    full_precision,
    read_targets,
)

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``loss(outputs, y)``, one value per sample."""

# With torch's default of -100, tokens of that class would have a loss of 0 where another class is to be ignored.
IGNORE_NO_CLASS = -(2**63)


def cross_entropy(outputs: Tensor, y: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each sample, ``-sum_c y_c log softmax(outputs)_c``.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_classes)
        Logits.
    y : Tensor, shape (batch,) or (batch, n_classes)
        Classes, or soft labels whose rows sum to 1; -100, or a row of zeros, for a sample without a label.
    label_smoothing : float in [0, 1), default 0
        Share of the label's probability that is spread evenly over all classes [1]_.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0; NaN, with gradient 0, for a sample without a label.

    Raises
    ------
    TypeError
        `outputs` isn't a tensor of real floating-point numbers, or `y` isn't one of integers or of soft labels.
    ValueError
        A shape is wrong, there are fewer than two classes, soft labels on the host aren't distributions, or
        `label_smoothing` is outside its range.
    IndexError
        A class on the host is out of range.

    References
    ----------
    .. [1] Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture", CVPR 2016.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    targets = read_targets(outputs, y)
    losses = F.cross_entropy(
        targets.outputs,
        targets.y,
        reduction="none",
        label_smoothing=label_smoothing,
        ignore_index=IGNORE_NO_CLASS,
    )
    return targets.mask(losses)


def mean_absolute_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_c |softmax(outputs)_c - y_c|`` of each sample: ``2 (1 - p_y)`` for a class y.

    Parameters
    ----------
    outputs, y : Tensor
        See `cross_entropy`.

    Returns
    -------
    Tensor, shape (batch,)
        Losses in [0, 2]. Losses tie at the upper bound, where `RRM` prunes no sample, or with ``ties="share"`` the same
        fraction of each.

    Raises
    ------
    TypeError, ValueError, IndexError
        See `cross_entropy`.

    References
    ----------
    .. [1] Ghosh, Kumar, Sastry, "Robust Loss Functions under Label Noise for Deep Neural Networks", AAAI 2017.
    """
    targets = read_targets(outputs, y)
    p = targets.outputs.softmax(1)
    if targets.y.is_floating_point():
        return targets.mask((p - targets.y).abs().sum(1))
    return targets.mask(2 * (1 - _label_entry(p, targets.y)))


def mean_squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_c (softmax(outputs)_c - y_c)^2`` of each sample, the Brier score.

    Parameters
    ----------
    outputs, y : Tensor
        See `cross_entropy`.

    Returns
    -------
    Tensor, shape (batch,)
        Losses in [0, 2], with ties as those of `mean_absolute_error`.

    Raises
    ------
    TypeError, ValueError, IndexError
        See `cross_entropy`.
    """
    targets = read_targets(outputs, y)
    p = targets.outputs.softmax(1)
    if targets.y.is_floating_point():
        return targets.mask((p - targets.y).square().sum(1))
    differences = p.scatter_add(1, targets.y[:, None], -torch.ones_like(p[:, :1]))
    return targets.mask(differences.square().sum(1))


def generalized_cross_entropy(outputs: Tensor, y: Tensor, *, q: float = 0.7, truncation: float | None = None) -> Tensor:
    """Return ``(1 - p_y^q) / q`` of each sample: cross-entropy in the limit q -> 0, half the MAE for q = 1 [1]_.

    Parameters
    ----------
    outputs, y : Tensor
        See `cross_entropy`; for soft labels the loss is the expectation over y.
    q : float in (0, 1], default 0.7
        A higher q is more robust to wrong labels, and learns more slowly.
    truncation : float in (0, 1), optional
        Where p_y is below this, the loss is that of p_y = truncation, with gradient 0.

    Returns
    -------
    Tensor, shape (batch,)
        Losses in [0, 1/q], with ties as those of `mean_absolute_error`.

    Raises
    ------
    TypeError, ValueError, IndexError
        See `cross_entropy`; or `q` or `truncation` is outside its range.

    References
    ----------
    .. [1] Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
       NeurIPS 2018. Its truncated loss differs from this one by a constant.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q must lie in (0, 1], got {q}; cross_entropy is the limit at 0")
    if truncation is not None and not 0 < truncation < 1:
        raise ValueError(f"truncation must lie in (0, 1), got {truncation}; None doesn't truncate")
    targets = read_targets(outputs, y)
    log_p = targets.outputs.log_softmax(1)
    soft = targets.y.is_floating_point()
    if not soft:
        log_p = _label_entry(log_p, targets.y)
    # From log p: the gradient of p ** q is infinite at p = 0. With expm1: 1 - p ** q cancels for small q.
    losses = -torch.expm1(q * log_p) / q
    if truncation is not None:
        losses = losses.clamp(max=(1 - truncation**q) / q)
    if soft:
        losses = (targets.y * losses).sum(1)
    return targets.mask(losses)


def binary_cross_entropy(outputs: Tensor, y: Tensor, *, pool: Pooling = "mean") -> Tensor:
    """Return the binary cross-entropy of multi-label samples, pooled over the labels of each sample.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_labels)
        Logits.
    y : Tensor, shape (batch, n_labels)
        Targets: 0, 1 or a probability.
    pool : {"mean", "sum", "max"}, default "mean"
        How to pool the losses of a sample's labels. ``"max"`` detects a single wrong label among many.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0; NaN if there are no labels.

    Raises
    ------
    TypeError
        `outputs` isn't a tensor of real floating-point numbers, or `y` isn't a tensor of real numbers.
    ValueError
        The shapes differ or aren't two-dimensional, a target on the host is outside [0, 1], or `pool` is something
        else.
    """
    check_floating("outputs", outputs)
    check_real("y", y)
    if outputs.ndim != 2 or y.shape != outputs.shape:
        raise ValueError(
            "outputs and y must both have shape (batch, n_labels), "
            f"got {tuple(outputs.shape)} and {tuple(y.shape)}; for a single label, pass outputs[:, None] and y[:, None]"
        )
    check_probabilities(y)
    outputs = full_precision(outputs)
    return _pool(F.binary_cross_entropy_with_logits(outputs, y.to(outputs.dtype), reduction="none"), None, pool)


def token_cross_entropy(
    outputs: Tensor, y: Tensor, *, ignore_index: int = IGNORED_CLASS, pool: Pooling = "mean"
) -> Tensor:
    """Return the cross-entropy of each sequence, pooled over its tokens.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_tokens, n_classes)
        Logits.
    y : Tensor, shape (batch, n_tokens) or (batch, n_tokens, n_classes)
        Classes or soft labels.
    ignore_index : int, default -100
        Tokens of this class, such as padding, are ignored; of soft labels, those that are all 0.
    pool : {"mean", "sum", "max"}, default "mean"
        How to pool the losses of a sequence's tokens.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0; NaN, with gradient 0, for a sequence whose tokens are all ignored.

    Raises
    ------
    TypeError, ValueError, IndexError
        See `cross_entropy`; or `pool` is something else.
    """
    check_floating("outputs", outputs)
    check_real("y", y)
    if outputs.ndim != 3:
        raise ValueError(f"outputs must have shape (batch, n_tokens, n_classes), got {tuple(outputs.shape)}")
    check_n_classes(outputs)
    shape = outputs.shape[:2]
    if y.shape not in (shape, outputs.shape):
        raise ValueError(f"y must have shape {tuple(shape)} or {tuple(outputs.shape)}, got {tuple(y.shape)}")
    targets = read_targets(outputs.flatten(0, 1), y.flatten(0, 1), ignore_index=ignore_index)
    losses = F.cross_entropy(targets.outputs, targets.y, reduction="none", ignore_index=IGNORE_NO_CLASS)
    mask = None if targets.ignored is None else ~targets.ignored.reshape(shape)
    return _pool(losses.reshape(shape), mask, pool)


BY_NAME: dict[str, Loss] = {
    "cce": cross_entropy,
    "mae": mean_absolute_error,
    "mse": mean_squared_error,
    "gce": generalized_cross_entropy,
    "truncated_gce": partial(generalized_cross_entropy, truncation=0.5),
    "label_smoothing": partial(cross_entropy, label_smoothing=0.1),
}


def by_name(name: str) -> Loss:
    """Return the loss called `name` in `BY_NAME`; ValueError lists the names if there is no such loss."""
    if name not in BY_NAME:
        raise ValueError(f"loss must be one of {', '.join(BY_NAME)}, got {name!r}")
    return BY_NAME[name]


def _label_entry(values: Tensor, y: Tensor) -> Tensor:
    """Return the entry of each sample's class from values of shape (batch, n_classes)."""
    return values.gather(1, y[:, None]).squeeze(1)
