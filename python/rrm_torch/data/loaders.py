"""Loaders that yield each sample's index."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, SequentialSampler

Loader: TypeAlias = Iterable[tuple[Tensor, Tensor, Tensor]]
"""Yields batches (index, x, y): the samples' indices in the data set, inputs and labels."""


class Indexed(Dataset[tuple[Any, ...]]):
    """A map-style data set whose items begin with their index, so that an ordinary DataLoader yields (index, x, y).

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Any map-style data set of tuples: with ``len(dataset)``, and ``dataset[i]`` a tuple such as (x, y).

    Raises
    ------
    TypeError
        If `dataset` isn't map-style, or, on access, if an item isn't a tuple or list.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"dataset must be map-style, with len(dataset) and dataset[i], got {type(dataset).__name__}: "
                "a stream has no index by which to find a sample again"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must lie in [{-len(self)}, {len(self)}), got {index}")
        index %= len(self)  # a sample has one index, also when it is asked for from the end
        item = self.dataset[index]
        if not isinstance(item, (tuple, list)):
            raise TypeError(f"dataset must hold tuples such as (x, y), got {type(item).__name__} at index {index}")
        return (index, *item)


def batches(
    x: Tensor,
    y: Tensor,
    batch_size: int,
    *,
    shuffle: bool,
    generator: torch.Generator | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
    """Return a loader of (index, x, y) that cuts whole batches out of tensors in memory.

    Equivalent to ``DataLoader(Indexed(TensorDataset(x, y)), batch_size, shuffle=shuffle)``, without fetching and
    stacking the samples one by one, which takes several times as long when they are small images.

    Parameters
    ----------
    x : torch.Tensor, shape (n, ...)
        Inputs, n >= 1.
    y : torch.Tensor, shape (n, ...)
        Targets.
    batch_size : int
        Samples per batch, at least 1. The last batch holds the rest.
    shuffle : bool
        Whether to visit the samples in a new random order each time.
    generator : torch.Generator, optional
        Where the order comes from; with a seeded one it is reproducible. By default, torch's global generator. Without
        shuffling, no random number is drawn from either.
    transform : callable, optional
        Maps each batch's x, of shape (batch, ...), to what the loader yields in its place; `rrm_torch.augment` has
        some. Called as ``transform(x)``, it draws random numbers where it does by default, as a rule from torch's
        global generator, and not from `generator`: with that, the order is the same with and without a transform.
        ``functools.partial(transform, generator=other)`` gives those of `rrm_torch.augment` a generator of their own.

    Returns
    -------
    torch.utils.data.DataLoader
        ``len(loader)`` is the number of batches and ``len(loader.dataset)`` that of samples; ``loader.batch_size`` is
        None, since the loader sees each batch as one item. The index is int64, of shape (batch,), and lies where `x`
        does.

    Raises
    ------
    ValueError
        If `batch_size` is below 1, `x` is empty, or `x` and `y` differ in length.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y):
        raise ValueError(f"x and y must have the same length, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    if not len(x):
        raise ValueError("x must hold at least one sample, got none")
    dataset = _Slices(x, y, transform)
    # A DataLoader may draw a seed for its workers. A pass over a test set must not shift the training's random numbers.
    own = generator if shuffle else torch.Generator()
    order = RandomSampler(dataset, generator=own) if shuffle else SequentialSampler(dataset)
    sampler = BatchSampler(order, batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=sampler, generator=own)


class _Slices(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A data set whose items are batches: many indices in, one (index, x, y) out."""

    def __init__(self, x: Tensor, y: Tensor, transform: Callable[[Tensor], Tensor] | None) -> None:
        self.x, self.y, self.transform = x, y, transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        index = torch.tensor(indices, device=self.x.device)
        x = self.x[index]
        return index, x if self.transform is None else self.transform(x), self.y[index]
