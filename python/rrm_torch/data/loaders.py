"""Data loaders that yield each sample's index."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, Sampler, SequentialSampler

Loader: TypeAlias = Iterable[tuple[Tensor, Tensor, Tensor]]
"""Yields batches (index, x, y): the samples' indices in the data set, inputs and labels."""


class Indexed(Dataset[tuple[Any, ...]]):
    """A map-style data set that adds the index to its items, so that an ordinary DataLoader yields (index, x, y).

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        A map-style data set with ``len(dataset)``, whose items ``dataset[i]`` are tuples such as (x, y).

    Raises
    ------
    TypeError
        `dataset` isn't map-style; or, on access, an item isn't a tuple or list.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
            raise TypeError(
                f"dataset must be map-style, with len(dataset) and dataset[i], got {type(dataset).__name__}: "
                "samples of an iterable data set have no index"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index must lie in [{-len(self)}, {len(self)}), got {index}")
        index %= len(self)  # a negative index refers to the same sample as the positive one
        item = self.dataset[index]
        if not isinstance(item, (tuple, list)):
            raise TypeError(f"dataset must contain tuples such as (x, y), got {type(item).__name__} at index {index}")
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
    """Return a loader of (index, x, y) that takes whole batches from tensors in memory.

    Equivalent to ``DataLoader(Indexed(TensorDataset(x, y)), batch_size, shuffle=shuffle)``, but several times faster
    for small images, because samples aren't fetched and stacked one by one.

    Parameters
    ----------
    x : torch.Tensor, shape (n, ...)
        Inputs, n >= 1.
    y : torch.Tensor, shape (n, ...)
        Targets.
    batch_size : int
        Samples per batch, at least 1. The last batch may be smaller.
    shuffle : bool
        Visit the samples in a new random order in each pass.
    generator : torch.Generator, optional
        Generator of the order. By default torch's global generator. Without shuffling no random number is drawn.
    transform : callable, optional
        Maps each batch's x, of shape (batch, ...), to the x that the loader yields, see `rrm_torch.data.augmentation`.
        Called as ``transform(x)``, so that it doesn't draw from `generator`, and the order is the same with and without
        it. Use ``functools.partial(transform, generator=...)`` for a transform with its own generator.

    Returns
    -------
    torch.utils.data.DataLoader
        ``len(loader)`` is the number of batches, ``len(loader.dataset)`` the number of samples, and
        ``loader.batch_size`` None, because to the DataLoader a batch is one item. The index is int64, of shape
        (batch,), on the device of `x`.

    Raises
    ------
    ValueError
        `batch_size` is below 1, `x` is empty, or `x` and `y` differ in length.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y):
        raise ValueError(f"x and y must have the same length, got shapes {tuple(x.shape)} and {tuple(y.shape)}")
    if not len(x):
        raise ValueError("x must contain at least one sample, got an empty tensor")
    dataset = _BatchDataset(x, y, transform)
    sampler: Sampler[int]
    if shuffle:
        sampler = RandomSampler(dataset, generator=generator)
    else:
        sampler = SequentialSampler(dataset)
        # A DataLoader draws a seed for its workers: a pass over a test set must not advance the global generator.
        generator = torch.Generator()
    batch_sampler = BatchSampler(sampler, batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=batch_sampler, generator=generator)


class _BatchDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """A data set indexed by lists of indices, whose items are batches (index, x, y)."""

    def __init__(self, x: Tensor, y: Tensor, transform: Callable[[Tensor], Tensor] | None) -> None:
        self.x = x
        self.y = y
        self.transform = transform

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        index = torch.tensor(indices, device=self.x.device)
        x = self.x[index]
        if self.transform is not None:
            x = self.transform(x)
        return index, x, self.y[index]
