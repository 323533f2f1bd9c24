"""Per-sample losses, of shape (batch,), and losses with a regularizer."""

from rrm_core._public import publish as _publish

from .elr import ELR
from .per_sample import (
    BY_NAME,
    Loss,
    binary_cross_entropy,
    by_name,
    cross_entropy,
    generalized_cross_entropy,
    mean_absolute_error,
    mean_squared_error,
    token_cross_entropy,
)
from .pooling import pool
from .regularized import LossParts, Regularized, label_loss, split_loss

__all__ = [
    "BY_NAME",
    "ELR",
    "Loss",
    "LossParts",
    "Regularized",
    "binary_cross_entropy",
    "by_name",
    "cross_entropy",
    "generalized_cross_entropy",
    "label_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "pool",
    "split_loss",
    "token_cross_entropy",
]

_publish(__name__, LossParts, Regularized)
