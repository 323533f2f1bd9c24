"""The loop that one would write by hand, and the passes over a data set that go with it.

Every loader yields (index, x, y), as `rrm_torch.batches` and a DataLoader over `rrm_torch.Indexed` do. Under FSDP, all
ranks make the same passes together, over as many batches, since each holds a part of the model.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from .._models import device_of, evaluation_mode, inference, to_device, unwrapped
from ..adversarial.attacks import Attack
from ..losses.per_sample import Loss, Regularised, cross_entropy, full_precision, label_loss, parts
from ..weighting.rrm import RRM
from .checkpoint import Checkpoint

Loader: TypeAlias = Iterable[tuple[Tensor, Tensor, Tensor]]


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
    loss: Loss | Regularised = cross_entropy,
    attack: Attack | None = None,
    score_loader: Loader | None = None,
    score_inputs: Literal["perturbed", "clean"] = "perturbed",
    autocast: torch.dtype | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    checkpoint: Checkpoint | None = None,
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
        Passes over the loader, those before a checkpoint included.
    rrm : RRM, optional
        Without it, this is ordinary training.
    loss : callable or Regularised, default cross-entropy
        ``loss(model(x), y)``, one loss per sample; or one with a part that doesn't depend on the label, see
        `rrm_torch.losses`.
    attack : Attack, optional
        Adversarial training: each batch is replaced by ``attack(model, x, y)``. With `rrm`, this is A-RRM.
    score_loader : iterable of (index, x, y), optional
        Reweight by the losses of a pass over this loader, in inference mode: the paper's way. It visits each sample
        once, needs no shuffling and should not augment, and has a batch size of its own. By default, by the losses
        recorded while training.
    score_inputs : {"perturbed", "clean"}, default "perturbed"
        Whether that pass attacks its inputs too, afresh. Recorded losses are always those of the attacked inputs.
    autocast : torch.dtype, optional
        Run the model in mixed precision, in training and scoring: ``torch.bfloat16``.
    scheduler : LRScheduler, optional
        Of the learning rate; stepped after each epoch, without a metric: step a ReduceLROnPlateau in `on_epoch`.
    checkpoint : Checkpoint, optional
        Go on from it if its file exists, and save to it after every epoch. It must hold model, optimizer, rrm and
        scheduler, as far as they are given, a loss with a state such as ELR, and the loader's generator if it has one.
        It should hold the generator of a transform that has one of its own, too, which `fit` can't see.
    on_epoch : callable, optional
        Called as ``on_epoch(epoch, mean_loss)`` after each epoch and before it is saved, the epoch counted from 1 and
        the loss unweighted.

    Returns
    -------
    Seconds
        Time spent in training, scoring and reweighting, by this call.

    Raises
    ------
    TypeError
        `rrm` or `attack` is something else.
    ValueError
        The loader yields no batch, a loss isn't one per sample, options contradict each other, or the checkpoint lacks
        a part or belongs to another run, which may have done more epochs already.

    Notes
    -----
    A loader whose ``persistent_workers`` draw random numbers goes on otherwise than it would have, if it is resumed.
    """
    if attack is not None and rrm is not None and score_inputs == "clean" and score_loader is None:
        raise ValueError("score_inputs='clean' needs a score_loader: the losses recorded are those of attacked inputs")
    if score_inputs not in ("perturbed", "clean"):
        raise ValueError(f"score_inputs must be 'perturbed' or 'clean', got {score_inputs!r}")
    if autocast not in (None, torch.bfloat16):
        raise ValueError(
            f"autocast must be torch.bfloat16 or None, got {autocast!r}; float16 needs a gradient scaler, and a loop "
            "of your own"
        )
    if not isinstance(attack, (Attack, NoneType)):
        raise TypeError(f"attack must be one of rrm_torch.attacks, such as FGSM(0.1), got {attack!r}")
    if not isinstance(rrm, (RRM, NoneType)):
        raise TypeError(f"rrm must be an RRM, got {rrm!r}")
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("scheduler must do without a metric; step a ReduceLROnPlateau in on_epoch")
    if operator.index(epochs) < 0:
        raise ValueError(f"epochs must be at least 0, got {epochs}")
    if rrm is not None and score_loader is not None:
        if rrm.unit == "step" or rrm.scope == "batch":
            raise ValueError(f"score_loader has no use with unit={rrm.unit!r} and scope={rrm.scope!r}; leave it out")
        rrm.expect_scores()
    seconds, device, begin = Seconds(), device_of(model), 0
    if rrm is not None:
        rrm.to(device)
    if checkpoint is not None:
        needed = {"model": model, "optimizer": optimizer, "rrm": rrm, "scheduler": scheduler}
        needed |= {"loss": loss if hasattr(loss, "state_dict") else None, "order": _order_of(loader)}
        held = [id(part) for part in checkpoint.held()]
        lacking = [name for name, part in needed.items() if part is not None and id(part) not in held]
        if lacking:
            of = " (the loader's generator)" if "order" in lacking else ""
            raise ValueError(f"checkpoint must hold {', '.join(lacking)}{of}: Checkpoint(path, {lacking[0]}=...)")
        begin = checkpoint.load()
        if begin > epochs:
            raise ValueError(f"epochs={epochs} are fewer than the {begin} that {str(checkpoint.path)!r} has done")
    for epoch in range(begin + 1, epochs + 1):
        start = time.perf_counter()
        _begin_epoch(loader, epoch)
        model.train()
        total, seen = torch.zeros((), device=device), 0
        for index, x, y in loader:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            if attack is not None:
                weights = rrm.weights_of(index) if rrm is not None and attack.weighted else None
                with _mixed_precision(device, autocast):
                    x = attack(model, x, y, label_loss(loss), weights=weights)
            with _mixed_precision(device, autocast):
                losses, free = parts(loss, model, x, y, index)
            if rrm is not None:
                batch_loss = rrm.weighted_mean(losses, index, free=free)
            else:
                batch_loss = (losses if free is None else losses + free).mean()
            optimizer.zero_grad()
            batch_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if rrm is not None and rrm.unit == "step":
                rrm.step()
            total, seen = total + losses.detach().sum(), seen + len(losses)
        trained = time.perf_counter()
        seconds.training += trained - start
        if not seen:
            raise ValueError("loader yields no batch")
        if rrm is not None and rrm.unit == "epoch":
            scores, scored = None, trained
            if score_loader is not None and rrm.due:
                against = attack if score_inputs == "perturbed" else None
                if rrm.layout is None:
                    scores = score(model, score_loader, loss, attack=against, autocast=autocast)
                else:  # each rank scores what its loader visits
                    rrm.forget_recorded()
                    for index, losses in _passed(model, score_loader, label_loss(loss), against, autocast):
                        rrm.record(losses, index)
                scored = time.perf_counter()
                seconds.scoring += scored - trained
            rrm.step(scores)
            seconds.reweighting += time.perf_counter() - scored
        if scheduler is not None:
            scheduler.step()
        if on_epoch is not None:
            on_epoch(epoch, float(total) / seen)
        if checkpoint is not None:
            checkpoint.save(epoch)
    return seconds


def score(
    model: nn.Module,
    loader: Loader,
    loss: Loss | Regularised = cross_entropy,
    *,
    attack: Attack | None = None,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Return the loss of every sample, from one pass in inference mode.

    Parameters
    ----------
    model : nn.Module
        Put in evaluation mode for the pass.
    loader : iterable of (index, x, y)
        The training set, each sample once, in any order and batches of any size; not augmented.
    loss : callable or Regularised, default cross-entropy
        ``loss(model(x), y)``, one loss per sample; of a loss with a part that doesn't depend on the label, the other.
    attack : Attack, optional
        Score ``attack(model, x, y)`` instead of x.
    autocast : torch.dtype, optional
        Run the model in mixed precision.

    Returns
    -------
    Tensor, shape (n,)
        Losses by index, on the model's device.

    Raises
    ------
    ValueError
        An index is missing or repeated.
    """
    return _by_index(model, loader, label_loss(loss), attack, autocast)


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
    model, device, n = unwrapped(model), device_of(model), 0
    right = torch.zeros((), dtype=torch.int64, device=device)
    with evaluation_mode(model), inference(model):
        for *_, x, y in loader:
            right += (model(to_device(x, device)).argmax(1) == to_device(y, device)).sum()
            n += len(y)
    if not n:
        raise ValueError("loader yields no batch")
    return int(right) / n


def _by_index(
    model: nn.Module,
    loader: Loader,
    per_sample: Loss,
    attack: Attack | None = None,
    autocast: torch.dtype | None = None,
) -> Tensor:
    """Apply `per_sample` to outputs and labels of all batches, and put the results in the order of the index."""
    found = list(_passed(model, loader, per_sample, attack, autocast))
    if not found:
        raise ValueError("loader yields no batch")
    index, values = torch.cat([i for i, _ in found]), torch.cat([v for _, v in found])
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


def _passed(
    model: nn.Module, loader: Loader, per_sample: Loss, attack: Attack | None, autocast: torch.dtype | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Apply `per_sample` to outputs and labels of all batches; yield it with their index, on the model's device."""
    model, device = unwrapped(model), device_of(model)
    with evaluation_mode(model), inference(model), _mixed_precision(device, autocast):
        for index, x, y in loader:
            x, y = to_device(x, device), to_device(y, device)
            if attack is not None:
                x = attack(model, x, y, per_sample)
            values = per_sample(full_precision(model(x)), y)
            if values.shape[:1] != index.shape:
                raise ValueError(
                    f"loss must return one value per sample, of shape {tuple(index.shape)}, got {tuple(values.shape)}; "
                    "use reduction='none'"
                )
            yield to_device(index, device), values


def _order_of(loader: Loader) -> torch.Generator | None:
    """Return the generator that decides in which order a DataLoader visits the samples, if it has one of its own."""
    for kind in ("batch_sampler", "sampler"):
        sampler: Any = getattr(loader, kind, None)
        while sampler is not None:  # a sampler of batches has one of samples within
            generator = getattr(sampler, "generator", None)
            if isinstance(generator, torch.Generator):
                return generator
            sampler = getattr(sampler, "sampler", None)
    return None


def _begin_epoch(loader: Loader, epoch: int) -> None:
    """Tell the samplers of ranks, which shuffle by it, which epoch begins."""
    for kind in ("batch_sampler", "sampler"):
        sampler: Any = getattr(loader, kind, None)
        while sampler is not None:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)
            sampler = getattr(sampler, "sampler", None)


def _mixed_precision(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Leave it to the caller's own context where no type is given."""
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype)
