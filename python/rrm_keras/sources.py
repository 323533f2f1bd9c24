"""Where a data set reads its samples: arrays, or a PyDataset whose batches always have the same samples."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import keras
import numpy as np

from rrm_core._arguments import as_integer

from .settings import Floats, Integers


class Batch(NamedTuple):
    """Samples of a batch."""

    x: Any
    y: Any
    rows: Integers
    """The numbers of the samples: int64, shape (batch,)."""
    sample_weight: Floats | None
    """Weights of the user's own, shape (batch,)."""


class Source(Protocol):
    """Samples in batches."""

    n: int
    n_batches: int

    def read(self, position: int) -> Batch:
        """Return the batch at a position of the fixed order: samples 0, 1, 2, ... in turn."""

    def read_shuffled(self, position: int, epoch: int, seed: int) -> Batch:
        """Return the batch at a position of an order that depends on the epoch and the seed alone."""

    def keeps_order(self) -> bool:
        """Return whether a batch has the same samples whenever it is read."""


class ArraySource:
    """Arrays: the samples are shuffled.

    Parameters
    ----------
    x, y : array, or list, tuple or dict of arrays
        The first axis is that of the samples.
    batch_size : int
    sample_weight : array of shape (n,), or None

    Raises
    ------
    TypeError, ValueError
        The arrays differ in length, or there is no sample.
    """

    def __init__(self, x: Any, y: Any, batch_size: int, sample_weight: Any) -> None:
        self._x = keras.tree.map_structure(np.asarray, x)
        self._y = keras.tree.map_structure(np.asarray, y)
        self._batch_size = as_integer("batch_size", batch_size, 1, "a whole number, at least 1")
        self.n = _common_length(self._x, self._y)
        self.n_batches = -(-self.n // self._batch_size)
        self._sample_weight = None if sample_weight is None else _as_weights(sample_weight, self.n)
        self._order: tuple[tuple[int, int], Integers] | None = None

    def read(self, position: int) -> Batch:
        """Return the batch at a position of the fixed order."""
        first = position * self._batch_size
        return self._take(np.arange(first, min(first + self._batch_size, self.n)))

    def read_shuffled(self, position: int, epoch: int, seed: int) -> Batch:
        """Return the batch at a position of the epoch's order."""
        # One assignment: threads may read at the same time.
        order = self._order
        if order is None or order[0] != (epoch, seed):
            order = ((epoch, seed), shuffled(self.n, epoch, seed))
            self._order = order
        first = position * self._batch_size
        return self._take(order[1][first : first + self._batch_size])

    def keeps_order(self) -> bool:
        """Return True: arrays are read by the numbers of their rows."""
        return True

    def _take(self, rows: Integers) -> Batch:
        x = keras.tree.map_structure(lambda array: array[rows], self._x)
        y = keras.tree.map_structure(lambda array: array[rows], self._y)
        return Batch(x, y, rows, None if self._sample_weight is None else self._sample_weight[rows])

    def __getstate__(self) -> dict[str, Any]:
        # Another process makes the order again.
        return {**self.__dict__, "_order": None}


class BatchSource:
    """A PyDataset whose batch k has the same samples in each epoch: the batches are shuffled.

    Parameters
    ----------
    batches : keras.utils.PyDataset
        All batches but the last one have equal lengths.

    Raises
    ------
    TypeError, ValueError
        It has no length, or a batch is not (x, y) or (x, y, sample_weight).
    """

    def __init__(self, batches: Any) -> None:
        self._batches = batches
        n_batches = batches.num_batches
        if not n_batches:
            raise ValueError(f"x must have a number of batches, at least 1, got num_batches={n_batches}")
        self.n_batches = int(n_batches)
        self._batch_size = _n_rows(self._unpack(0)[1])
        self.n = (self.n_batches - 1) * self._batch_size + _n_rows(self._unpack(self.n_batches - 1)[1])

    def read(self, position: int) -> Batch:
        """Return the batch at a position of the fixed order."""
        x, y, sample_weight = self._unpack(position)
        first = position * self._batch_size
        end = min(first + self._batch_size, self.n)
        if _n_rows(y) != end - first:
            raise ValueError(
                f"batch {position} of x must have {end - first} samples, as the first and the last one suggest, got "
                f"{_n_rows(y)}; only the last batch may be smaller"
            )
        if sample_weight is not None:
            sample_weight = _as_weights(sample_weight, end - first)
        return Batch(x, y, np.arange(first, end), sample_weight)

    def read_shuffled(self, position: int, epoch: int, seed: int) -> Batch:
        """Return the batch at a position of the epoch's order."""
        return self.read(int(shuffled(self.n_batches, epoch, seed)[position]))

    def keeps_order(self) -> bool:
        """Return whether the first batch has the same targets when it is read twice."""
        first = keras.tree.flatten(self._unpack(0)[1])
        second = keras.tree.flatten(self._unpack(0)[1])
        return all(_are_equal(*arrays) for arrays in zip(first, second, strict=True))

    def _unpack(self, position: int) -> tuple[Any, Any, Any]:
        batch = self._batches[position]
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError(
                f"a batch of x must be (x, y) or (x, y, sample_weight), got {type(batch).__name__}"
                + (f" of length {len(batch)}" if isinstance(batch, (tuple, list)) else "")
            )
        return batch[0], batch[1], batch[2] if len(batch) == 3 else None


def _are_equal(a: Any, b: Any) -> bool:
    """Return whether two arrays or tensors are equal; NaN is equal to NaN."""
    a = keras.ops.convert_to_numpy(a)
    b = keras.ops.convert_to_numpy(b)
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def shuffled(n: int, epoch: int, seed: int) -> Integers:
    """Return a permutation of the numbers below n that depends on the epoch and the seed alone."""
    return np.random.default_rng((seed, epoch)).permutation(n)


def _n_rows(structure: Any) -> int:
    """Return the length of the first array of a structure."""
    return len(keras.tree.flatten(structure)[0])


def _common_length(x: Any, y: Any) -> int:
    """Return the number of samples; raise if arrays differ in it."""
    lengths = set()
    for name, structure in (("x", x), ("y", y)):
        for array in keras.tree.flatten(structure):
            if not array.ndim:
                raise TypeError(f"{name} must be arrays with an axis of samples, got {array.item()!r}")
            lengths.add(len(array))
    if len(lengths) != 1:
        sizes = [len(array) for array in keras.tree.flatten(x)]
        raise ValueError(
            f"x and y must have one length, got {', '.join(map(str, sizes))} for x and "
            f"{', '.join(str(len(array)) for array in keras.tree.flatten(y))} for y"
        )
    (n,) = lengths
    if not n:
        raise ValueError("x and y must have at least one sample, got none")
    return int(n)


def _as_weights(sample_weight: Any, n: int) -> Floats:
    weights: Floats = np.asarray(sample_weight, dtype=np.float32)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), one weight per sample, got {weights.shape}")
    return weights
