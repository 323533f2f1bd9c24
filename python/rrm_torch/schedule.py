"""When to reweight: pure functions of the epoch."""

from __future__ import annotations


def due(epoch: int, *, warmup: int, every: int) -> bool:
    """Return whether a reweight follows `epoch`.

    Parameters
    ----------
    epoch : int
        The epoch that ends, counted from 1.
    warmup : int, at least 1
        Epochs of plain training; the first reweight follows the last of them.
    every : int, at least 1
        Epochs from one reweight to the next.

    Returns
    -------
    bool
    """
    return epoch >= warmup and (epoch - warmup) % every == 0
