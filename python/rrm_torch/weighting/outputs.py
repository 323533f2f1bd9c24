"""The outputs and labels of a batch, from which the share of wrong labels is estimated."""

from __future__ import annotations

import torch
from torch import Tensor

from rrm_core._agreement import UNKNOWN

from .._checks import column_remedy

MAX_CLASSES = 1 << 15
"""Classes are stored in 15 bits."""

# A code has the class in its upper 16 bits, below them the round in 2 bits, and the doubt in 14.
_CLASS_SHIFT = 16
_ROUND_SHIFT = 14
_DOUBT = (1 << _ROUND_SHIFT) - 1

_REMAINING = (
    "where outputs aren't classes, give contamination and warmup as numbers, and rank by the loss; "
    "rrm_review.draw_samples draws 100 labels to check by hand"
)


def check_outputs(logits: object, labels: object, n: int, reason: str) -> tuple[Tensor, Tensor]:
    """Check the logits and classes of a batch of n samples, and return the classes in one form.

    Parameters
    ----------
    logits : Tensor of floating-point numbers, shape (n, n_classes), (n, 1) or (n,)
        One number per sample is the logit of class 1 against class 0.
    labels : Tensor of integers, shape (n,)
        Classes; a negative one stands for a sample without a label. With one logit per sample also numbers 0 and 1 of
        floating point, and shape (n, 1); NaN stands for a sample without a label.
    n : int
    reason : str
        The setting that needs them, for the message.

    Returns
    -------
    logits : Tensor
        As given.
    labels : Tensor of integers, shape (n,)

    Raises
    ------
    TypeError, ValueError
        One is missing, or has another type or shape.
    IndexError
        A class on the host is out of range.
    """
    if logits is None or labels is None:
        missing = [name for name, value in (("logits", logits), ("labels", labels)) if value is None]
        raise ValueError(
            f"{reason} needs weighted_mean(losses, index, logits=logits, labels=y), got no {' and no '.join(missing)}; "
            f"a loss with a regularizer returns the outputs in LossParts, and {_REMAINING}"
        )
    for name, value in (("logits", logits), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} must be a tensor, got {type(value).__name__}; of an output of several parts pass the logits"
            )
    assert isinstance(logits, Tensor)
    assert isinstance(labels, Tensor)
    if not logits.is_floating_point() or logits.ndim not in (1, 2) or len(logits) != n:
        raise ValueError(
            f"logits must be floating-point numbers of shape ({n}, n_classes), or ({n},) for two classes, got "
            f"{tuple(logits.shape)} of {logits.dtype}; {_REMAINING}"
        )
    if n_classes_of(logits) > MAX_CLASSES:
        raise ValueError(f"logits must be of at most {MAX_CLASSES:,} classes, got {logits.shape[1]:,}; {_REMAINING}")
    return logits, _as_classes(labels, logits, n)


def _as_classes(labels: Tensor, logits: Tensor, n: int) -> Tensor:
    """Return the labels as integers, shape (n,); raise as `check_outputs`."""
    has_one_logit = is_one_logit(logits)
    given = labels[:, 0] if has_one_logit and labels.shape == (n, 1) else labels
    if given.shape != (n,) or given.is_complex() or (given.is_floating_point() and not has_one_logit):
        remedy = column_remedy("labels", tuple(labels.shape))
        if labels.shape == logits.shape and labels.ndim == 2:
            remedy = "; of a probability for each class pass labels.argmax(1)"
        raise ValueError(
            f"labels must be classes, integers of shape ({n},), got {tuple(labels.shape)} of {labels.dtype}{remedy}; "
            f"{_REMAINING}"
        )
    if given.is_floating_point():
        is_class = (given == 0) | (given == 1) | given.isnan()
        if given.device.type == "cpu" and not bool(is_class.all()):
            raise ValueError(f"labels must be 0 or 1, got {float(given[~is_class][0])}; {_REMAINING}")
        given = torch.where(given.isnan(), UNKNOWN, given)
    given = given.long()
    if given.device.type == "cpu" and n and int(given.max()) >= n_classes_of(logits):
        raise IndexError(
            f"labels must lie in [0, {n_classes_of(logits)}), as logits have it, got {int(given.max())}; number the "
            f"classes from 0, and pass -1 for a sample without a label; {_REMAINING}"
        )
    return given


def is_one_logit(logits: Tensor) -> bool:
    """Return whether there is one number per sample, the logit of class 1 against class 0."""
    return logits.ndim == 1 or logits.shape[1] == 1


def n_classes_of(logits: Tensor) -> int:
    """Return the number of classes of logits: two if there is one number per sample."""
    return 2 if is_one_logit(logits) else logits.shape[1]


def encode_predictions(logits: Tensor, round_in_pass: int) -> Tensor:
    """Return the predicted class of each sample, a round and the prediction's doubt, in one number.

    Parameters
    ----------
    logits : Tensor, shape (batch, n_classes), (batch, 1) or (batch,)
    round_in_pass : int in [0, 4)

    Returns
    -------
    Tensor of int32, shape (batch,)
        `UNKNOWN` for logits that are NaN. The doubt is the float16 of 1 - p, where p is the class's probability: near
        1, p itself has too few values.
    """
    logits = logits.detach().float()
    if is_one_logit(logits):
        logits = logits.reshape(-1)
        predicted = (logits > 0).int()
        doubt = torch.sigmoid(-logits.abs())
    else:
        highest, index = logits.max(1, keepdim=True)
        predicted = index[:, 0].int()
        # The sum over the other classes, which near a probability of 1 has more digits than 1 less that probability.
        rest = (logits - highest).exp().scatter(1, index, 0).sum(1)
        doubt = rest / (1 + rest)
    # Bits of a float16 in [0, 1] are below 2**14.
    bits = doubt.clamp(0, 1).half().view(torch.int16).int()
    codes = predicted << _CLASS_SHIFT | round_in_pass << _ROUND_SHIFT | bits
    return torch.where(doubt.isnan(), UNKNOWN, codes)


def predicted_classes(codes: Tensor) -> Tensor:
    """Return the predicted classes of codes: int32, `UNKNOWN` where there is no prediction."""
    return codes >> _CLASS_SHIFT


def rounds_in_pass(codes: Tensor) -> Tensor:
    """Return the rounds of codes: int32, 3 where there is no prediction."""
    return codes >> _ROUND_SHIFT & 3


def confidences(codes: Tensor) -> Tensor:
    """Return the probabilities of codes: float64, exactly 1 minus the doubt; 0 where there is no prediction."""
    doubt = (codes & _DOUBT).to(torch.int16).view(torch.float16).double()
    return torch.where(codes < 0, 0.0, 1 - doubt)


def are_codes(codes: Tensor, n_classes: int) -> bool:
    """Return whether all numbers are codes of predictions of so many classes, or `UNKNOWN`."""
    doubt = torch.where(codes < 0, 0, codes & _DOUBT)
    one = torch.ones((), dtype=torch.float16).view(torch.int16)
    is_in_range = int(codes.min()) >= UNKNOWN and int(predicted_classes(codes).max()) < n_classes
    return is_in_range and int(doubt.max()) <= int(one)
