"""Random subsets with the same number of samples of each class."""

from __future__ import annotations

import torch
from torch import Tensor


def balanced_subset(labels: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw samples, as many of each class as the sizes of the classes allow.

    Of a class with fewer samples than its share all are drawn, and the other classes share what it lacks. The numbers
    of the other classes differ by at most 1; which of them get one more is drawn as well.

    Parameters
    ----------
    labels : torch.Tensor of int64, shape (n_samples,)
        Labels, at least 0. A label that doesn't occur is no class.
    n : int
        Number of samples to draw, in [1, n_samples].
    generator : torch.Generator, optional
        Generator of the draw, on the CPU; by default torch's global generator.

    Returns
    -------
    torch.Tensor of int64, shape (n,)
        Indices of the samples, each once, in random order.

    Raises
    ------
    ValueError
        `labels` has another shape or a negative label, or `n` is out of range.
    TypeError
        `labels` aren't int64.
    """
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64, got {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape (n_samples,), got {tuple(labels.shape)}")
    if not 1 <= n <= len(labels):
        raise ValueError(f"n must lie in [1, {len(labels)}], the number of samples, got {n}")
    if int(labels.min()) < 0:
        raise ValueError(f"labels must be at least 0, got {int(labels.min())}")
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels[order]
    sizes = torch.bincount(shuffled)
    quotas = _share(sizes, n, generator)
    # The first samples of each class in the random order, as many as its quota.
    by_class = torch.argsort(shuffled, stable=True)
    starts = torch.cumsum(sizes, 0) - sizes
    ranks = torch.arange(len(labels)) - starts.repeat_interleave(sizes)
    drawn = by_class[ranks < quotas.repeat_interleave(sizes)]
    return order[drawn.sort().values]


def _share(sizes: Tensor, n: int, generator: torch.Generator | None) -> Tensor:
    """Return how many samples of each class to draw, n together."""
    quotas = torch.zeros_like(sizes)
    while (remaining := n - int(quotas.sum())) > 0:
        open_classes = (quotas < sizes).nonzero().flatten()
        share = remaining // len(open_classes)
        if share == 0:
            chosen = torch.randperm(len(open_classes), generator=generator)[:remaining]
            quotas[open_classes[chosen]] += 1
        else:
            quotas[open_classes] = torch.minimum(quotas[open_classes] + share, sizes[open_classes])
    return quotas
