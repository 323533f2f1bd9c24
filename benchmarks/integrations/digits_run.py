"""The run that every framework makes: its data, its settings, and what a framework's module defines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Array: TypeAlias = npt.NDArray[Any]

N_TRAIN = 1347
SHARE = 0.3
EPOCHS = 30
BATCH_SIZE = 32
HIDDEN = 256
LEARNING_RATE = 3e-3

MARK = "# RRM"
"""At the end of the lines of a framework's module that only the runs with RRM need."""

Settings: TypeAlias = Mapping[str, Any] | None
"""Arguments of RRM; None for plain training."""


class Fitted(NamedTuple):
    """What a framework's ``train(x, y, rrm, seed)`` returns."""

    predict: Callable[[Array], Array]
    """Returns the predicted classes of images."""
    rrm: Any = None
    """The RRM of the run, or whatever has `flagged` and `estimate`; None for plain training."""


class Digits(NamedTuple):
    """Images in [0, 1], float32, shape (n, 64), and classes, of which 30 % of those in training are wrong."""

    x_train: Array
    y_train: Array
    is_wrong: Array
    x_test: Array
    y_test: Array


def load(seed: int) -> Digits:
    """Return scikit-learn's digits, in an order and with wrong labels that depend on the seed."""
    images, labels = load_digits(return_X_y=True)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    x = (images[order] / 16).astype(np.float32)
    y = labels[order].astype(np.int64)
    is_wrong = np.zeros(N_TRAIN, bool)
    is_wrong[generator.permutation(N_TRAIN)[: round(SHARE * N_TRAIN)]] = True
    y_train = np.where(is_wrong, (y[:N_TRAIN] + generator.integers(1, 10, N_TRAIN)) % 10, y[:N_TRAIN])
    return Digits(x[:N_TRAIN], y_train, is_wrong, x[N_TRAIN:], y[N_TRAIN:])
