"""The training set of a method that trains on several augmented views of each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from .._checks import column_remedy
from ..data.augmentation import Augmentation
from .draws import Draws

Transform: TypeAlias = Callable[[Tensor], Tensor]


class Inputs(Protocol):
    """What holds the inputs: a tensor, or an object that reads them: see `rrm_torch.data.ImageFiles`."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return a batch, shape (batch, ...), of indices of shape (batch,)."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Inputs, given labels, and the transforms of a training set.

    Parameters
    ----------
    inputs : Tensor, shape (n, ...), or Inputs
        Of images usually bytes, which the transforms convert.
    labels : Tensor of int64, shape (n,)
        The given classes, some of them wrong. They are moved to the device of the inputs.
    n_classes : int
    weak : callable, optional
        ``weak(x, generator)`` returns a randomly augmented batch, for training: see `rrm_torch.data.augmentation`. For
        images usually shifts and flips. By default `prepare`.
    strong : callable, optional
        A stronger augmentation, which ProMix needs.
    prepare : callable, optional
        ``prepare(x)`` converts a batch for passes that score samples. By default inputs are used as they are.

    Raises
    ------
    TypeError, ValueError
        The labels aren't classes, inputs and labels differ in length, or a transform isn't callable.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch.data.augmentation import Compose, FlipCrop, Standardise
    >>> from rrm_torch.methods import TrainingSet
    >>> images = torch.randint(256, (20, 3, 8, 8), dtype=torch.uint8)
    >>> white = Standardise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    >>> data = TrainingSet(images, torch.arange(20) % 2, 2, weak=Compose(FlipCrop(1), white), prepare=white)
    >>> len(data)
    20
    """

    inputs: Inputs
    labels: Tensor
    n_classes: int
    weak: Augmentation | None = None
    strong: Augmentation | None = None
    prepare: Transform | None = None

    def __post_init__(self) -> None:
        labels = _check_labels(self.labels)
        _check_inputs(self.inputs)
        for name in ("weak", "strong", "prepare"):
            transform = getattr(self, name)
            if transform is not None and not callable(transform):
                raise TypeError(f"{name} must be callable or None, got {type(transform).__name__}")
        if len(labels) != len(self.inputs):
            raise ValueError(f"inputs and labels must have the same length, got {len(self.inputs)} and {len(labels)}")
        if len(labels) < 2:
            raise ValueError(f"inputs must hold at least two samples, got {len(labels)}")
        outside = ((labels < 0) | (labels >= self.n_classes)).nonzero()[:, 0]
        if len(outside):
            first = int(outside[0])
            raise ValueError(
                f"labels must lie in [0, {self.n_classes}), got {int(labels[first])} for sample {first}; leave samples "
                "without a label out"
            )
        # Batches index both.
        object.__setattr__(self, "labels", labels.to(self.device))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where batches are read and augmented: the device of a tensor of inputs, otherwise the CPU."""
        return self.inputs.device if isinstance(self.inputs, Tensor) else torch.device("cpu")

    def draws(self, *key: int) -> Draws:
        """Return the random draws of such a key, on the device of the inputs."""
        return Draws(*key, device=self.device)

    def weak_view(self, x: Tensor, draws: Draws) -> Tensor:
        """Return a weakly augmented view of a batch of inputs."""
        return self.prepared(x) if self.weak is None else self.weak(x, draws.generator)

    def strong_view(self, x: Tensor, draws: Draws) -> Tensor:
        """Return a strongly augmented view of a batch of inputs.

        Raises
        ------
        ValueError
            There is no such transform.
        """
        if self.strong is None:
            raise ValueError(
                "the training set must have a strong augmentation, got none; pass strong=, such as "
                "Compose(RandAugment(), FlipCrop(), Standardise(mean, std))"
            )
        return self.strong(x, draws.generator)

    def prepared(self, x: Tensor) -> Tensor:
        """Return a batch of inputs without augmentation."""
        return x if self.prepare is None else self.prepare(x)

    def batches(self, batch_size: int, index: Tensor | None = None) -> ScoringBatches:
        """Return a loader of (index, x, y) of all samples, or of those in `index`, in order and without augmentation.

        Like a DataLoader, it may be iterated over any number of times.
        """
        if index is None:
            index = torch.arange(len(self))
        return ScoringBatches(self, index.to(self.device), batch_size)

    def weak_batches(
        self, batch_size: int, draws: Draws, device: torch.device, index: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (index, x, y) of all samples, or of those in `index`, in random order and weakly augmented.

        Inputs and labels are on `device`, the index is on that of the inputs. See `shuffled` for the last batch.
        """
        if index is None:
            index = torch.arange(len(self))
        for part in self.shuffled(index.to(self.device), batch_size, draws):
            x = self.weak_view(self.inputs[part], draws)
            yield part, x.to(device), self.labels[part].to(device)

    def shuffled(self, index: Tensor, batch_size: int, draws: Draws) -> list[Tensor]:
        """Return the indices of one pass over some samples, in random order, as batches of at least two samples.

        Batch norm can't be trained on a single one: it joins the batch before. One sample alone is returned as it is.
        """
        parts = list(torch.split(index[draws.permutation(len(index))], batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            last = parts.pop()
            parts[-1] = torch.cat([parts[-1], last])
        return parts


@dataclass(frozen=True, eq=False, repr=False)
class ScoringBatches:
    """A loader of a training set's samples, in the order of `index` and without augmentation."""

    data: TrainingSet
    index: Tensor
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.index) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for part in torch.split(self.index, self.batch_size):
            yield part, self.data.prepared(self.data.inputs[part]), self.data.labels[part]


def endless_batches(data: TrainingSet, index: Tensor, batch_size: int, draws: Draws) -> Iterator[Tensor]:
    """Yield the indices of batches of some samples for ever, each pass in a new order.

    A single sample stands twice in each batch, since batch norm can't be trained on one.

    Raises
    ------
    ValueError
        There is no sample.
    """
    if not len(index):
        raise ValueError("index must name at least one sample, got none")
    if len(index) == 1:
        index = index.repeat(2)
    while True:
        yield from data.shuffled(index, batch_size, draws)


def _check_labels(labels: Any) -> Tensor:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.ndim != 1:
        kind = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
        remedy = "; torch.as_tensor(labels).long() converts classes"
        if isinstance(labels, Tensor) and labels.ndim == 2:
            remedy = column_remedy("labels", tuple(labels.shape)) or "; labels.argmax(1) converts one-hot rows"
        raise TypeError(f"labels must be a tensor of int64, shape (n,), got {kind}{remedy}")
    return labels


def _check_inputs(inputs: Any) -> None:
    # Arrays and lists have a length, but batches of them aren't tensors.
    if isinstance(inputs, (np.ndarray, list, tuple)):
        raise TypeError(
            f"inputs must be a tensor, or return a batch for a tensor of indices, got {type(inputs).__name__}; "
            "torch.as_tensor(inputs) converts arrays, ImageFiles(paths, size) reads images"
        )


def check_training_set(data: Any) -> None:
    """Raise a TypeError unless a method gets a training set."""
    if not isinstance(data, TrainingSet):
        raise TypeError(
            f"data must be a TrainingSet, got {type(data).__name__}; TrainingSet(inputs, labels, n_classes)"
        )


def check_views(data: TrainingSet) -> None:
    """Try the transforms on two samples, so that a mistake is found before training, not after a warm-up.

    Raises
    ------
    TypeError
        The inputs or a view aren't a tensor with a row for each sample, or views differ in type.
    """
    index = torch.arange(2, device=data.device)
    _check_rows("inputs[index]", data.inputs[index])
    draws = data.draws(0)
    views = {"prepare": data.prepared(data.inputs[index])}
    if data.weak is not None:
        views["weak"] = data.weak_view(data.inputs[index], draws)
    if data.strong is not None:
        views["strong"] = data.strong_view(data.inputs[index], draws)
    for name, view in views.items():
        _check_rows(name, view)
    if len({view.dtype for view in views.values()}) > 1:
        types = ", ".join(f"{name} {view.dtype}" for name, view in views.items())
        raise TypeError(
            f"weak, strong and prepare must return inputs of one type, got {types}; end all of them with the same "
            "conversion, such as Standardise(mean, std)"
        )


def _check_rows(name: str, x: object) -> None:
    if not isinstance(x, Tensor) or len(x) != 2:
        kind = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"{name} must return a tensor with a row for each sample, got {kind} for two samples")
