"""Per-sample losses, of shape (batch,), and losses with a term that does not depend on the label."""

from .elr import ELR
from .per_sample import (
    BY_NAME,
    Loss,
    Parts,
    Regularised,
    binary_cross_entropy,
    cross_entropy,
    generalized_cross_entropy,
    label_loss,
    mean_absolute_error,
    mean_squared_error,
    named,
    parts,
    pool,
    token_cross_entropy,
)

__all__ = [
    "BY_NAME",
    "ELR",
    "Loss",
    "Parts",
    "Regularised",
    "binary_cross_entropy",
    "cross_entropy",
    "generalized_cross_entropy",
    "label_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "named",
    "parts",
    "pool",
    "token_cross_entropy",
]
