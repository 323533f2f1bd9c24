"""Small tables with wrong labels, for the tests of rrm_sklearn."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits


def noisy_digits(n=600, share=0.2, seed=0):
    """Return digits, their labels of which some are wrong, and which are."""
    x, y = load_digits(return_X_y=True)
    x, y = x[:n] / 16, y[:n]
    rng = np.random.default_rng(seed)
    is_wrong = np.zeros(n, bool)
    is_wrong[rng.permutation(n)[: int(share * n)]] = True
    given = np.where(is_wrong, (y + rng.integers(1, 10, n)) % 10, y)
    return x, given, is_wrong


def two_groups(n=120, share=0.1, seed=0):
    """Return two normal distributions, labels 0 and 1 of which some are wrong, and which are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, 3)) + 4 * y[:, None]
    is_wrong = np.zeros(n, bool)
    is_wrong[rng.permutation(n)[: round(share * n)]] = True
    return x, np.where(is_wrong, 1 - y, y), is_wrong
