"""Per-sample losses, of shape (batch,).

Every function takes `outputs`, the model's logits, and `y`: classes, an integer tensor of shape (batch,), or soft
labels, a floating-point tensor of shape (batch, n_classes) whose rows are distributions. Half-precision outputs are
converted to float32. Label values aren't checked, because that would wait for the GPU: torch reports a class out of
range.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, TypeVar, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``loss(outputs, y)``, one value per sample."""

Pooling: TypeAlias = Literal["mean", "sum", "max"]
T = TypeVar("T")

# Torch's default of -100 would give samples with that label a loss of 0, the smallest of all.
IGNORE_NO_LABEL = -(2**63)


def cross_entropy(outputs: Tensor, y: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each sample, ``-sum_c y_c log softmax(outputs)_c``.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_classes)
        Logits.
    y : Tensor, shape (batch,) or (batch, n_classes)
        Classes or soft labels.
    label_smoothing : float in [0, 1), default 0
        Share of the label's probability that is spread evenly over all classes [1]_.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0.

    Raises
    ------
    TypeError, ValueError
        A shape or type is wrong, or `label_smoothing` is outside its range.

    References
    ----------
    .. [1] Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture", CVPR 2016.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    outputs, y = as_logits_and_targets(outputs, y)
    return F.cross_entropy(outputs, y, reduction="none", label_smoothing=label_smoothing, ignore_index=IGNORE_NO_LABEL)


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
    TypeError, ValueError
        A shape or type is wrong.

    References
    ----------
    .. [1] Ghosh, Kumar, Sastry, "Robust Loss Functions under Label Noise for Deep Neural Networks", AAAI 2017.
    """
    outputs, y = as_logits_and_targets(outputs, y)
    if y.is_floating_point():
        return (outputs.softmax(1) - y).abs().sum(1)
    return 2 * (1 - _label_entry(outputs.softmax(1), y))


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
    TypeError, ValueError
        A shape or type is wrong.
    """
    outputs, y = as_logits_and_targets(outputs, y)
    p = outputs.softmax(1)
    if y.is_floating_point():
        return (p - y).square().sum(1)
    return p.scatter_add(1, y[:, None], -torch.ones_like(p[:, :1])).square().sum(1)


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
    TypeError, ValueError
        A shape or type is wrong, or `q` or `truncation` is outside its range.

    References
    ----------
    .. [1] Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
       NeurIPS 2018. Its truncated loss differs from this one by a constant.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q must lie in (0, 1], got {q}; cross_entropy is the limit at 0")
    if truncation is not None and not 0 < truncation < 1:
        raise ValueError(f"truncation must lie in (0, 1), got {truncation}; None doesn't truncate")
    outputs, y = as_logits_and_targets(outputs, y)
    log_p = outputs.log_softmax(1)
    soft = y.is_floating_point()
    if not soft:
        log_p = _label_entry(log_p, y)
    # From log p: the gradient of p ** q is infinite at p = 0. With expm1: 1 - p ** q cancels for small q.
    losses = -torch.expm1(q * log_p) / q
    if truncation is not None:
        losses = losses.clamp(max=(1 - truncation**q) / q)
    return (y * losses).sum(1) if soft else losses


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
        Losses, at least 0.

    Raises
    ------
    ValueError
        The shapes differ or aren't two-dimensional, or `pool` is something else.
    """
    if outputs.ndim != 2 or y.shape != outputs.shape:
        raise ValueError(
            "outputs and y must both have shape (batch, n_labels), "
            f"got {tuple(outputs.shape)} and {tuple(y.shape)}; for a single label, pass outputs[:, None] and y[:, None]"
        )
    outputs = full_precision(outputs)
    return _pool(F.binary_cross_entropy_with_logits(outputs, y.to(outputs.dtype), reduction="none"), None, pool)


def token_cross_entropy(outputs: Tensor, y: Tensor, *, ignore_index: int = -100, pool: Pooling = "mean") -> Tensor:
    """Return the cross-entropy of each sequence, pooled over its tokens.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_tokens, n_classes)
        Logits.
    y : Tensor, shape (batch, n_tokens) or (batch, n_tokens, n_classes)
        Classes or soft labels.
    ignore_index : int, default -100
        Tokens of this class, such as padding, are ignored. With soft labels no token is ignored.
    pool : {"mean", "sum", "max"}, default "mean"
        How to pool the losses of a sequence's tokens.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0; 0 for a sequence whose tokens are all ignored.

    Raises
    ------
    TypeError, ValueError
        A shape or type is wrong, or `pool` is something else.
    """
    if outputs.ndim != 3:
        raise ValueError(f"outputs must have shape (batch, n_tokens, n_classes), got {tuple(outputs.shape)}")
    shape = outputs.shape[:2]
    if y.shape not in (shape, outputs.shape):
        raise ValueError(f"y must have shape {tuple(shape)} or {tuple(outputs.shape)}, got {tuple(y.shape)}")
    outputs, tokens = as_logits_and_targets(outputs.flatten(0, 1), y.flatten(0, 1))
    losses = F.cross_entropy(outputs, tokens, reduction="none", ignore_index=ignore_index).reshape(shape)
    mask = None if tokens.is_floating_point() else y != ignore_index
    return _pool(losses, mask, pool)


def pool(losses: Tensor, mask: Tensor | None = None, how: Pooling = "mean") -> Tensor:
    """Pool several losses per sample into one.

    Parameters
    ----------
    losses : Tensor, shape (batch, ...)
        Losses of each sample's tokens, labels or pixels.
    mask : Tensor of bool, same shape, optional
        Which losses to include. By default all.
    how : {"mean", "sum", "max"}, default "mean"
        The gradient of ``"max"`` is shared evenly among equal maxima.

    Returns
    -------
    Tensor, shape (batch,)
        At least float32; 0 where the mask excludes all losses of a sample.

    Raises
    ------
    ValueError
        `how` is something else, or a shape is wrong.
    """
    if how not in ("mean", "sum", "max"):
        raise ValueError(f"pool must be one of mean, sum, max, got {how!r}")
    if losses.ndim == 0:
        raise ValueError("losses must have shape (batch, ...), got (); compute the loss with reduction='none'")
    if mask is not None and mask.shape != losses.shape:
        raise ValueError(f"mask must have the shape of losses, {tuple(losses.shape)}, got {tuple(mask.shape)}")
    included = torch.ones_like(losses, dtype=torch.bool) if mask is None else mask.bool()
    included = _as_matrix(included)
    losses = _as_matrix(full_precision(losses))
    if how == "max" and losses.shape[1]:
        highest = losses.masked_fill(~included, -torch.inf).amax(1)
        return torch.where(included.any(1), highest, 0)
    total = torch.where(included, losses, 0).sum(1)  # 0 * NaN would be NaN
    if how == "mean":
        return total / included.sum(1).clamp(min=1)
    return total


_pool = pool  # for functions with a parameter called `pool`


def _as_matrix(values: Tensor) -> Tensor:
    """Return values of shape (batch, ...) in shape (batch, n)."""
    return values[:, None] if values.ndim == 1 else values.flatten(1)


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


def as_logits_and_targets(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs in at least float32, and y as int64 classes or as soft labels of the outputs' type."""
    if outputs.ndim != 2:
        raise ValueError(f"outputs must have shape (batch, n_classes), got {tuple(outputs.shape)}")
    outputs = full_precision(outputs)
    soft = y.is_floating_point()
    expected_shape = outputs.shape if soft else outputs.shape[:1]
    if y.shape != expected_shape:
        raise ValueError(
            f"y must have shape {tuple(outputs.shape[:1])}, as classes, or {tuple(outputs.shape)}, as floating soft "
            f"labels, to fit the outputs, got {tuple(y.shape)} of {y.dtype}"
        )
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"y must hold integer classes or floating soft labels, got {y.dtype}; convert with y.long()")
    return outputs, y.to(outputs.dtype if soft else torch.int64)


def _label_entry(values: Tensor, y: Tensor) -> Tensor:
    """Return the entry of each sample's class from values of shape (batch, n_classes)."""
    return values.gather(1, y[:, None]).squeeze(1)


def full_precision(values: T) -> T:
    """Convert a half-precision tensor to float32; return anything else, such as a dict of outputs, unchanged."""
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.dtype.itemsize >= 4:
        return values
    return cast("T", values.float())
