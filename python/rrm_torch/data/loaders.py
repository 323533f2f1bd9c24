"""Data loaders that yield each sample's index."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, Sampler, SequentialSampler

from .batch import INDEX_KEY

Loader: TypeAlias = Iterable[Any]
"""Yields batches: (index, x, y), the samples' indices in the data set, inputs and labels; or dicts of them."""


class Indexed(Dataset[Any]):
    """A map-style data set that adds the index to its items, so that an ordinary DataLoader yields (index, x, y).

    An item that is a tuple or a list gets its index in front; one that is a dict, as in Hugging Face's data sets, gets
    it under the key ``sample_index``, and the DataLoader yields dicts. A list, array or tensor of indices fetches a
    whole batch, for ``DataLoader(Indexed(dataset), sampler=BatchSampler(...), batch_size=None)``: the data set is
    asked for ``dataset[list_of_int]``, as `TensorDataset` and Hugging Face's data sets answer it.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        A map-style data set with ``len(dataset)``, whose items ``dataset[i]`` are tuples such as (x, y), or dicts.

    Raises
    ------
    TypeError
        `dataset` isn't map-style; or, on access, an item isn't a tuple, list or dict, or the data set doesn't take a
        list of indices.
    ValueError
        On access: an item has the key ``sample_index`` already, with another value; or the data set returned another
        number of samples than it was asked for.
    IndexError
        On access: an index is out of range.
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

    def __getitem__(self, index: int | Sequence[int] | npt.NDArray[np.integer] | Tensor) -> Any:
        if _is_batch_of_indices(index):
            return self._batch(self._positions(index))
        position = self._position(index)
        return _with_index(self.dataset[position], position)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items of several samples, which a DataLoader collates; the data set fetches them all at once."""
        positions = self._positions(indices)
        fetch = getattr(self.dataset, "__getitems__", None)
        if fetch is not None:
            items = fetch(positions)
            _check_n_samples(len(items), len(positions))
        else:
            items = [self.dataset[position] for position in positions]
        return [_with_index(item, position) for item, position in zip(items, positions, strict=True)]

    def _batch(self, positions: list[int]) -> Any:
        """Return a batch that the data set makes from a list of indices, with the indices as a tensor."""
        try:
            batch = self.dataset[positions]
        except TypeError as error:
            raise TypeError(
                f"dataset must take a list of indices, as TensorDataset does, got an error from "
                f"{type(self.dataset).__name__}: {error}; without batch_size=None a DataLoader fetches the samples of "
                "Indexed one by one, and rrm_torch.batches takes whole batches from tensors"
            ) from error
        if isinstance(batch, list) and all(isinstance(item, (tuple, list, Mapping)) for item in batch):
            raise TypeError(
                "dataset must return one batch for a list of indices, such as (x, y), got a list of items; return them "
                "from __getitems__, and leave out batch_size=None"
            )
        indexed = _with_index(batch, torch.tensor(positions, dtype=torch.int64, device="cpu"))
        for field in batch.values() if isinstance(batch, Mapping) else batch:
            if isinstance(field, (Tensor, np.ndarray)) and field.ndim:
                _check_n_samples(len(field), len(positions))
        return indexed

    def _positions(self, indices: Any) -> list[int]:
        values = indices.tolist() if isinstance(indices, (Tensor, np.ndarray)) else indices
        return [self._position(index) for index in values]

    def _position(self, index: Any) -> int:
        """Return an index as an integer in [0, n); a negative one refers to the same sample as a positive one."""
        if isinstance(index, bool):
            raise TypeError(f"index must be an integer, got {index}; convert a mask with .nonzero()")
        position = operator.index(index)
        n = len(self)
        if not -n <= position < n:
            raise IndexError(f"index must lie in [{-n}, {n}), got {position}")
        return position % n


def _is_batch_of_indices(index: object) -> bool:
    if isinstance(index, (Tensor, np.ndarray)):
        return index.ndim > 0
    return isinstance(index, Sequence)


def _with_index(item: Any, index: int | Tensor) -> Any:
    """Return an item or a batch with its index."""
    if isinstance(item, Mapping):
        if INDEX_KEY in item and not np.array_equal(item[INDEX_KEY], index):
            raise ValueError(
                f"dataset must not use the key {INDEX_KEY!r}, got {item[INDEX_KEY]!r} at index {index}; rename it"
            )
        return {**item, INDEX_KEY: index}
    if isinstance(item, (tuple, list)):
        return (index, *item)
    raise TypeError(f"dataset must contain tuples such as (x, y), or dicts, got {type(item).__name__} at index {index}")


def _check_n_samples(n_samples: int, requested: int) -> None:
    if n_samples != requested:
        raise ValueError(f"dataset must return as many samples as it is asked for, {requested}, got {n_samples}")


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
