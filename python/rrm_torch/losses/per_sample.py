"""Losses of each sample, of shape (batch,), as `rrm_torch.RRM` wants them, and losses that are more than that.

Every function takes `outputs`, the model's logits, and `y`: classes, an integer tensor of shape (batch,), or soft
labels, a floating one of shape (batch, n_classes) whose rows are distributions. Half-precision outputs are made float32
first. Nothing here waits for a GPU, so the values of labels aren't checked: torch itself reports a class out of range.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
How: TypeAlias = Literal["mean", "sum", "max"]
T = TypeVar("T")

NO_LABEL = -(2**63)  # no class is ignored by accident: torch's -100 would get the smallest loss of all, 0


def cross_entropy(outputs: Tensor, y: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each sample, ``-sum_c y_c log softmax(outputs)_c``.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_classes)
        Logits.
    y : Tensor, shape (batch,) or (batch, n_classes)
        Classes or soft labels.
    label_smoothing : float in [0, 1), default 0
        This share of the label is spread evenly over all classes [1]_.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0.

    Raises
    ------
    TypeError, ValueError
        A shape or type doesn't fit, or `label_smoothing` lies outside its range.

    References
    ----------
    .. [1] Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception Architecture", CVPR 2016.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    outputs, y = _fitting(outputs, y)
    return F.cross_entropy(outputs, y, reduction="none", label_smoothing=label_smoothing, ignore_index=NO_LABEL)


def mean_absolute_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_c |softmax(outputs)_c - y_c|`` of each sample: ``2 (1 - p_y)`` for a class y.

    Parameters
    ----------
    outputs, y : Tensor
        As for `cross_entropy`.

    Returns
    -------
    Tensor, shape (batch,)
        Losses in [0, 2]. At the upper bound they tie; there `RRM` prunes none, or with ``ties="share"`` a part of each.

    Raises
    ------
    TypeError, ValueError
        A shape or type doesn't fit.

    References
    ----------
    .. [1] Ghosh, Kumar, Sastry, "Robust Loss Functions under Label Noise for Deep Neural Networks", AAAI 2017.
    """
    outputs, y = _fitting(outputs, y)
    if y.is_floating_point():
        return (outputs.softmax(1) - y).abs().sum(1)
    return 2 * (1 - _of_label(outputs.softmax(1), y))


def mean_squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Return ``sum_c (softmax(outputs)_c - y_c)^2`` of each sample, also known as the Brier score.

    Parameters, shapes and errors are those of `mean_absolute_error`; the losses lie in [0, 2] too.
    """
    outputs, y = _fitting(outputs, y)
    p = outputs.softmax(1)
    if y.is_floating_point():
        return (p - y).square().sum(1)
    return p.scatter_add(1, y[:, None], -torch.ones_like(p[:, :1])).square().sum(1)


def generalized_cross_entropy(outputs: Tensor, y: Tensor, *, q: float = 0.7, truncation: float | None = None) -> Tensor:
    """Return ``(1 - p_y^q) / q`` of each sample, between cross-entropy (q towards 0) and half of the MAE (q = 1).

    Parameters
    ----------
    outputs, y : Tensor
        As for `cross_entropy`; of soft labels, the expectation over y.
    q : float in (0, 1], default 0.7
        The higher, the more robust, and the slower to learn.
    truncation : float in (0, 1), optional
        Of classes less probable than this, the loss is that at this probability, and its gradient 0.

    Returns
    -------
    Tensor, shape (batch,)
        Losses in [0, 1/q], where they tie as those of `mean_absolute_error` do.

    Raises
    ------
    TypeError, ValueError
        A shape or type doesn't fit, or `q` or `truncation` lie outside their range.

    References
    ----------
    .. [1] Zhang, Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels",
       NeurIPS 2018. Its truncated loss is this one less a constant.
    """
    if not 0 < q <= 1:
        raise ValueError(f"q must lie in (0, 1], got {q}; cross_entropy is the limit at 0")
    if truncation is not None and not 0 < truncation < 1:
        raise ValueError(f"truncation must lie in (0, 1), got {truncation}; None is none")
    outputs, y = _fitting(outputs, y)
    log_p = outputs.log_softmax(1)
    soft = y.is_floating_point()
    # By the logarithm, as the gradient of p ** q is infinite at p = 0; with expm1, as 1 - p ** q cancels for small q.
    losses = -torch.expm1(q * (log_p if soft else _of_label(log_p, y))) / q
    if truncation is not None:
        losses = losses.clamp(max=(1 - truncation**q) / q)
    return (y * losses).sum(1) if soft else losses


def binary_cross_entropy(outputs: Tensor, y: Tensor, *, pool: How = "mean") -> Tensor:
    """Return the binary cross-entropy of samples with several labels, pooled to one loss a sample.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_labels)
        Logits.
    y : Tensor, shape (batch, n_labels)
        Whether each label applies: 0 or 1, or a probability between.
    pool : {"mean", "sum", "max"}, default "mean"
        How the losses of a sample's labels become one. ``"max"`` notices a single wrong label among many.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0.

    Raises
    ------
    ValueError
        The shapes differ or aren't two-dimensional, or `pool` is unknown.
    """
    if outputs.ndim != 2 or y.shape != outputs.shape:
        raise ValueError(
            "outputs and y must both have shape (batch, n_labels), "
            f"got {tuple(outputs.shape)} and {tuple(y.shape)}; of a single label, take outputs[:, None] and y[:, None]"
        )
    outputs = full_precision(outputs)
    return _pool(F.binary_cross_entropy_with_logits(outputs, y.to(outputs.dtype), reduction="none"), how=pool)


def token_cross_entropy(outputs: Tensor, y: Tensor, *, ignore_index: int = -100, pool: How = "mean") -> Tensor:
    """Return the cross-entropy of each sequence, pooled over its tokens.

    Parameters
    ----------
    outputs : Tensor, shape (batch, n_tokens, n_classes)
        Logits.
    y : Tensor, shape (batch, n_tokens) or (batch, n_tokens, n_classes)
        Classes or soft labels.
    ignore_index : int, default -100
        Tokens of this class, such as padding, don't count. Soft labels all do.
    pool : {"mean", "sum", "max"}, default "mean"
        How the losses of a sequence's tokens become one.

    Returns
    -------
    Tensor, shape (batch,)
        Losses, at least 0; that of a sequence without a token that counts is 0.

    Raises
    ------
    TypeError, ValueError
        A shape or type doesn't fit, or `pool` is unknown.
    """
    if outputs.ndim != 3:
        raise ValueError(f"outputs must have shape (batch, n_tokens, n_classes), got {tuple(outputs.shape)}")
    shape = outputs.shape[:2]
    if y.shape not in (shape, outputs.shape):
        raise ValueError(f"y must have shape {tuple(shape)} or {tuple(outputs.shape)}, got {tuple(y.shape)}")
    outputs, tokens = _fitting(outputs.flatten(0, 1), y.flatten(0, 1))
    losses = F.cross_entropy(outputs, tokens, reduction="none", ignore_index=ignore_index).reshape(shape)
    return _pool(losses, None if tokens.is_floating_point() else y != ignore_index, pool)


def pool(losses: Tensor, mask: Tensor | None = None, how: How = "mean") -> Tensor:
    """Make one loss a sample of several.

    Parameters
    ----------
    losses : Tensor, shape (batch, ...)
        Losses of a sample's parts: its tokens, labels or pixels.
    mask : Tensor of bool, same shape, optional
        Which of them count. By default all do.
    how : {"mean", "sum", "max"}, default "mean"
        ``"max"`` shares the gradient evenly among equal maxima.

    Returns
    -------
    Tensor, shape (batch,)
        At least float32; 0 where nothing counts.

    Raises
    ------
    ValueError
        `how` is unknown, or the shapes don't fit.
    """
    if how not in ("mean", "sum", "max"):
        raise ValueError(f"pool must be one of mean, sum, max, got {how!r}")
    if losses.ndim == 0:
        raise ValueError("losses must have shape (batch, ...), got (); compute the loss with reduction='none'")
    if mask is not None and mask.shape != losses.shape:
        raise ValueError(f"mask must have the shape of losses, {tuple(losses.shape)}, got {tuple(mask.shape)}")
    counts = torch.ones_like(losses, dtype=torch.bool) if mask is None else mask.bool()
    losses, counts = (t[:, None] if t.ndim == 1 else t.flatten(1) for t in (full_precision(losses), counts))
    if how == "max" and losses.shape[1]:
        highest = losses.masked_fill(~counts, -torch.inf).amax(1)
        return torch.where(counts.any(1), highest, 0)
    total = torch.where(counts, losses, 0).sum(1)  # a product would let NaN through
    return total / counts.sum(1).clamp(min=1) if how == "mean" else total


_pool = pool  # where an argument has the name


class Parts(NamedTuple):
    """The two parts of a loss, both of shape (batch,)."""

    label: Tensor
    """What depends on the given label: weighted and recorded by `RRM`."""
    free: Tensor
    """What doesn't: unweighted."""


@runtime_checkable
class Regularised(Protocol):
    """A loss with a part that is free of the label, or one that needs the model or the samples' indices."""

    def label(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Return the part that depends on the label, shape (batch,); what scoring uses. Changes no state."""
        ...

    def parts(self, model: nn.Module, x: Tensor, y: Tensor, index: Tensor) -> Parts:
        """Return both parts for a batch of training; `index`, shape (batch,), says which samples it holds."""
        ...


def parts(
    loss: Loss | Regularised, model: nn.Module, x: Tensor, y: Tensor, index: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Apply a loss of either kind to a batch of training.

    Parameters
    ----------
    loss : callable or Regularised
        ``loss(model(x), y)``, one loss per sample, or a loss with parts.
    model : nn.Module
        Used in the mode it is in.
    x, y : Tensor, shapes (batch, ...)
        Inputs and labels, on the model's device.
    index : Tensor of int64, shape (batch,)
        The samples' indices in the training set.

    Returns
    -------
    label : Tensor, shape (batch,)
        What `RRM` weights and records.
    free : Tensor, shape (batch,), or None
        What stays unweighted; None if the loss has no such part.

    Raises
    ------
    TypeError
        `loss` is of neither kind.
    ValueError
        A part isn't one value per sample.
    """
    found: tuple[Tensor, Tensor | None]
    if isinstance(loss, Regularised):
        found = loss.parts(model, x, y, index)
    else:
        function = label_loss(loss)  # before the model runs
        found = function(full_precision(model(x)), y), None
    for part in found:
        if part is not None and part.shape != index.shape:
            raise ValueError(
                f"loss must return one value per sample, of shape {tuple(index.shape)}, got {tuple(part.shape)}; "
                "use reduction='none'"
            )
    return found


def label_loss(loss: Loss | Regularised) -> Loss:
    """Return what scores a sample, ``f(outputs, y)``: the loss itself, or the part of it that depends on the label.

    `loss` is as for `parts`; TypeError if it is of neither kind.
    """
    if isinstance(loss, Regularised):
        return loss.label
    if not callable(loss):
        raise TypeError(f"loss must be callable, got {loss!r}; rrm_torch.losses.named gives one by its name")
    return loss


BY_NAME: dict[str, Loss] = {
    "cce": cross_entropy,
    "mae": mean_absolute_error,
    "mse": mean_squared_error,
    "gce": generalized_cross_entropy,
    "truncated_gce": partial(generalized_cross_entropy, truncation=0.5),
    "label_smoothing": partial(cross_entropy, label_smoothing=0.1),
}


def named(name: str) -> Loss:
    """Return the loss of a name, a key of `BY_NAME`; of another name, ValueError lists those there are."""
    if name not in BY_NAME:
        raise ValueError(f"loss must be one of {', '.join(BY_NAME)}, got {name!r}")
    return BY_NAME[name]


def _fitting(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs of at least float32, and y as int64 classes or as soft labels of the outputs' type."""
    if outputs.ndim != 2:
        raise ValueError(f"outputs must have shape (batch, n_classes), got {tuple(outputs.shape)}")
    outputs, soft = full_precision(outputs), y.is_floating_point()
    if y.shape != (outputs.shape if soft else outputs.shape[:1]):
        raise ValueError(
            f"y must have shape {tuple(outputs.shape[:1])}, as classes, or {tuple(outputs.shape)}, as floating soft "
            f"labels, to fit the outputs, got {tuple(y.shape)} of {y.dtype}"
        )
    if y.dtype == torch.bool or y.is_complex():
        raise TypeError(f"y must hold integer classes or floating soft labels, got {y.dtype}; convert with y.long()")
    return outputs, y.to(outputs.dtype if soft else torch.int64)


def _of_label(values: Tensor, y: Tensor) -> Tensor:
    """Pick from (batch, n_classes) the entry of each sample's class."""
    return values.gather(1, y[:, None]).squeeze(1)


def full_precision(values: T) -> T:
    """Return a floating tensor in at least float32; anything else, such as a model's dict of outputs, as it is."""
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.dtype.itemsize >= 4:
        return values
    return cast("T", values.float())
