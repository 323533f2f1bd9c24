"""The loop that one would write by hand, and the passes over a data set that go with it.

Every loader yields (index, x, y), as `rrm_torch.batches` and a DataLoader over `rrm_torch.Indexed` do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .rrm import RRM

Loader: TypeAlias = Iterable[tuple[Tensor, Tensor, Tensor]]
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each sample, shape (batch,)."""
    return F.cross_entropy(logits, y, reduction="none")


@dataclass
class Seconds:
    """Wall-clock time by what it was spent on."""

    training: float = 0.0
    scoring: float = 0.0
    reweighting: float = 0.0


def fit(
    model: nn.Module,
    loader: Loader,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    rrm: RRM | None = None,
    loss: Loss = cross_entropy,
    score_loader: Loader | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Seconds:
    """Train a model, with the samples weighted by `rrm` if one is given.

    Parameters
    ----------
    model : nn.Module
        Maps x to what `loss` expects. Put in training mode, and trained in place, on the device of its parameters.
    loader : iterable of (index, x, y)
        One epoch of the training set.
    optimizer : torch.optim.Optimizer
        Over the model's parameters.
    epochs : int
        Passes over the loader.
    rrm : RRM, optional
        Without it, this is ordinary training.
    loss : callable, default cross-entropy
        ``loss(model(x), y)``, one loss per sample.
    score_loader : iterable of (index, x, y), optional
        Reweight by the losses of a pass over this loader, in inference mode: the paper's way. It visits each sample
        once and needs neither shuffling nor augmentation. By default, by the losses recorded while training.
    on_epoch : callable, optional
        Called as ``on_epoch(epoch, mean_loss)`` after each epoch, the epoch counted from 1 and the loss unweighted.

    Returns
    -------
    Seconds
        Time spent in training, scoring and reweighting.

    Raises
    ------
    ValueError
        The loader yields no batch, or a loss isn't one per sample.
    """
    seconds, device = Seconds(), _device(model)
    model.train()
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        total, seen = torch.zeros((), device=device), 0
        for index, x, y in loader:
            losses = loss(model(x.to(device)), y.to(device))
            if losses.shape != index.shape:
                raise ValueError(
                    f"loss must return one value per sample, of shape {tuple(index.shape)}, got {tuple(losses.shape)}; "
                    "use reduction='none'"
                )
            batch_loss = losses.mean() if rrm is None else rrm.weighted_mean(losses, index)
            optimizer.zero_grad()
            batch_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, seen = total + losses.detach().sum(), seen + len(losses)
        trained = time.perf_counter()
        seconds.training += trained - start
        if not seen:
            raise ValueError("loader yields no batch")
        if rrm is not None:
            scores, scored = None, trained
            if score_loader is not None and rrm.due:
                scores = score(model, score_loader, loss)
                scored = time.perf_counter()
                seconds.scoring += scored - trained
            rrm.step(scores)
            seconds.reweighting += time.perf_counter() - scored
        if on_epoch is not None:
            on_epoch(epoch, float(total) / seen)
    return seconds


def score(model: nn.Module, loader: Loader, loss: Loss = cross_entropy) -> Tensor:
    """Return the loss of every sample, from one pass in inference mode.

    Parameters
    ----------
    model : nn.Module
        Put in evaluation mode for the pass.
    loader : iterable of (index, x, y)
        The training set, each sample once, in any order.
    loss : callable, default cross-entropy
        ``loss(model(x), y)``, one loss per sample.

    Returns
    -------
    Tensor, shape (n,)
        Losses by index, on the model's device.

    Raises
    ------
    ValueError
        An index is missing or repeated.
    """
    return _by_index(model, loader, loss)


def predict(model: nn.Module, loader: Loader) -> Tensor:
    """Return the predicted class probabilities of every sample.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits; put in evaluation mode for the pass.
    loader : iterable of (index, x, y)
        Each sample once, in any order.

    Returns
    -------
    Tensor, shape (n, n_classes)
        Probabilities by index, on the model's device.

    Raises
    ------
    ValueError
        An index is missing or repeated.
    """
    return _by_index(model, loader, lambda logits, _: logits.softmax(1))


def evaluate(model: nn.Module, loader: Iterable[Sequence[Tensor]]) -> float:
    """Return the share of samples that the model classifies as their label says.

    Parameters
    ----------
    model : nn.Module
        A classifier that returns logits; put in evaluation mode for the pass.
    loader : iterable of (index, x, y) or of (x, y)
        Usually the test set.

    Returns
    -------
    float
        Accuracy, in [0, 1].

    Raises
    ------
    ValueError
        The loader yields no batch.
    """
    device = _device(model)
    right = n = 0
    with _evaluation_mode(model), torch.inference_mode():
        for *_, x, y in loader:
            right += int((model(x.to(device)).argmax(1) == y.to(device)).sum())
            n += len(y)
    if not n:
        raise ValueError("loader yields no batch")
    return right / n


def _by_index(model: nn.Module, loader: Loader, per_sample: Loss) -> Tensor:
    """Apply `per_sample` to logits and labels of all batches, and put the results in the order of the index."""
    device = _device(model)
    with _evaluation_mode(model), torch.inference_mode():
        parts = [(index.to(device), per_sample(model(x.to(device)), y.to(device))) for index, x, y in loader]
    if not parts:
        raise ValueError("loader yields no batch")
    index, values = torch.cat([i for i, _ in parts]), torch.cat([v for _, v in parts])
    n = len(index)
    times = torch.bincount(index[(index >= 0) & (index < n)], minlength=n)
    if not bool((times == 1).all()):
        raise ValueError(
            f"loader must visit each of its {n} samples once, as index 0 to {n - 1}: "
            f"{int((times == 0).sum())} are missing and {int((times > 1).sum())} repeated; of a part of a data set, "
            "take Indexed(Subset(...)), not a Subset of Indexed"
        )
    ordered = torch.empty_like(values)
    ordered[index] = values
    return ordered


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode; afterwards give each module its own mode back, frozen ones included."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
