"""RRMDataset: the training set, with the weight of each sample."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from rrm_core._arguments import as_integer

from .settings import Floats
from .sources import ArraySource, Batch, BatchSource, Source


class RRMDataset(keras.utils.PyDataset):
    """A training set whose batches have the weights of their samples: what ``model.fit`` is given.

    Parameters
    ----------
    x : array, list, tuple or dict of arrays, or keras.utils.PyDataset
        Inputs, with the samples along the first axis. Or a PyDataset of batches ``(x, y)``, of which batch k has the
        same samples in every epoch, such as one that reads files; its `on_epoch_end` is not called.
    y : array, or list, tuple or dict of arrays, optional
        Targets; only with arrays.
    batch_size : int, default 32
        Only with arrays; the last batch may be smaller.
    shuffle : bool, default True
        Whether each epoch has the samples in another order, or the batches of a PyDataset.
    seed : int, default 0
        The order depends on it and on the number of the epoch alone.
    sample_weight : array of float, shape (n,), optional
        Weights of your own, by which those of RRM are multiplied; only with arrays.
    workers, use_multiprocessing, max_queue_size
        See `keras.utils.PyDataset`; by default those of a PyDataset that is given. With more than one worker, Keras
        begins an epoch with up to `max_queue_size` batches that it had fetched before, with the weights of then.

    Attributes
    ----------
    n : int
        Number of samples.
    weights : float32 array of shape (n,)
        Those of RRM; all 1 before a callback changes them.
    epoch : int
        Which epoch's order the batches have, from 0; set by the callback.

    Raises
    ------
    TypeError, ValueError
        x and y differ in length, or an argument has the wrong type or value.

    See Also
    --------
    RRMCallback : changes the weights.

    Examples
    --------
    >>> import numpy as np
    >>> from rrm_keras import RRMDataset
    >>> data = RRMDataset(np.zeros((5, 2)), np.arange(5), batch_size=2, shuffle=False)
    >>> len(data)
    3
    >>> x, y, weights = data[2]
    >>> y, weights
    (array([4]), array([1.], dtype=float32))
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        *,
        sample_weight: Any = None,
        workers: int | None = None,
        use_multiprocessing: bool | None = None,
        max_queue_size: int | None = None,
    ) -> None:
        is_dataset = isinstance(x, keras.utils.PyDataset)
        options = {"workers": workers, "use_multiprocessing": use_multiprocessing, "max_queue_size": max_queue_size}
        if is_dataset:
            options |= {name: getattr(x, name) for name, value in options.items() if value is None}
        super().__init__(**{name: value for name, value in options.items() if value is not None})
        self._source: Source
        if is_dataset:
            for name, value in (("y", y), ("batch_size", batch_size), ("sample_weight", sample_weight)):
                if value is not None:
                    raise ValueError(f"{name} must be left out if x is a PyDataset, whose batches have it")
            self._source = BatchSource(x)
        elif y is None:
            raise TypeError(
                f"give y, the targets, or a keras.utils.PyDataset as x, got {type(x).__name__} alone; batches of other "
                "data sets do not tell which samples they have"
            )
        else:
            self._source = ArraySource(x, y, 32 if batch_size is None else batch_size, sample_weight)
        self.shuffle = bool(shuffle)
        self.seed = as_integer("seed", seed, 0, "a whole number, at least 0")
        self.epoch = 0
        self.weights: Floats = np.ones(self.n, np.float32)
        self.n_uses = 0

    @property
    def n(self) -> int:
        """Number of samples."""
        return self._source.n

    def __len__(self) -> int:
        """Return the number of batches."""
        return self._source.n_batches

    def __getitem__(self, index: int) -> tuple[Any, Any, Floats]:
        """Return inputs, targets and weights of a batch of this epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"index must lie in [0, {len(self)}), got {index}")
        if self.shuffle:
            batch = self._source.read_shuffled(index, self.epoch, self.seed)
        else:
            batch = self._source.read(index)
        weights: Floats = self.weights[batch.rows]
        if batch.sample_weight is not None:
            weights = weights * batch.sample_weight
        return batch.x, batch.y, weights

    def read(self, index: int) -> Batch:
        """Return a batch of the samples in their own order, with their numbers."""
        return self._source.read(index)

    def keeps_order(self) -> bool:
        """Return whether a batch has the same samples whenever it is read, as weights of samples need it."""
        return self._source.keeps_order()

    def on_epoch_begin(self) -> None:
        """Note that an epoch reads the data set."""
        self.n_uses += 1

    def on_epoch_end(self) -> None:
        """Note that an epoch has read the data set."""
        self.n_uses += 1
