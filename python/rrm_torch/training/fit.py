"""The training loop.

Every loader yields (index, x, y), or dicts, as `rrm_torch.batches` and a DataLoader over `rrm_torch.Indexed` do. Under
FSDP all ranks must run the same passes together, over the same number of batches, because each holds a shard of the
model.
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .._models import autocast_context, device_of, to_device
from ..adversarial.attacks import Attack
from ..data.batch import split_indexed_batch
from ..data.loaders import Loader
from ..losses.per_sample import Loss, cross_entropy
from ..losses.pooling import batch_mean
from ..losses.regularized import Regularized, label_loss, split_loss
from ..weighting.base import BaseRRM
from ..weighting.batch_rrm import BatchRRM
from ..weighting.rrm import RRM
from .checkpoint import Checkpoint
from .score import score, score_batches


@dataclass
class Seconds:
    """Wall-clock seconds spent on training, on scoring passes and on reweighting."""

    training: float = 0.0
    scoring: float = 0.0
    reweighting: float = 0.0


class MeanLoss:
    """Mean of an epoch's losses without those that are NaN, summed on a device so that no batch waits for it."""

    def __init__(self, device: torch.device) -> None:
        self.n_samples = 0
        self._sum = torch.zeros((), dtype=torch.float32, device=device)
        self._n_counted = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, losses: Tensor) -> None:
        """Add the losses of a batch, shape (batch,)."""
        counted = ~losses.isnan()
        self.n_samples += len(losses)
        self._sum = self._sum + torch.where(counted, losses, 0).sum()
        self._n_counted += counted.sum()

    def value(self) -> float:
        """Return the mean; NaN if no loss was counted."""
        n_counted = int(self._n_counted)
        return float(self._sum) / n_counted if n_counted else math.nan


def fit(
    model: nn.Module,
    loader: Loader,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    *,
    rrm: BaseRRM | None = None,
    loss: Loss | Regularized = cross_entropy,
    attack: Attack | None = None,
    score_loader: Loader | None = None,
    score_inputs: Literal["perturbed", "clean"] = "perturbed",
    autocast: torch.dtype | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Seconds:
    """Train a model, with sample weights from `rrm` if one is passed.

    Parameters
    ----------
    model : nn.Module
        Maps x to the outputs that `loss` expects. Trained in place, in training mode, on the device of its parameters.
    loader : iterable of (index, x, y) or of dict
        One epoch of the training set. x may be a tensor, or a nesting of dicts, lists and tuples of tensors: the model
        is called with it as a single argument. Of a batch that is a dict, as `rrm_torch.Indexed` makes of a data set of
        dicts, the index is the entry ``sample_index``, y the entry ``labels`` or ``label``, and x a dict of all others.
    optimizer : torch.optim.Optimizer
        Optimizes the model's parameters.
    epochs : int
        Total number of epochs, including those done before a checkpoint.
    rrm : RRM or BatchRRM, optional
        Sample weights. None is ordinary training. An RRM is told the number of epochs, by which a warm-up of
        ``warmup="auto"`` ends in time, and gets outputs and labels, of which ``contamination="auto"`` is estimated.
    loss : callable or Regularized, default cross-entropy
        ``loss(model(x), y)``, one loss per sample; or a loss with a regularizer, see `rrm_torch.losses`.
    attack : Attack, optional
        Adversarial training: x of each batch is replaced by ``attack(model, x, y)``. With `rrm` this is A-RRM.
    score_loader : iterable of (index, x, y), optional
        Reweight by the losses of a scoring pass over this loader in inference mode, as in the paper. It must visit each
        sample once, should neither shuffle nor augment, and may use any batch size. By default RRM reweights by the
        losses recorded during training.
    score_inputs : {"perturbed", "clean"}, default "perturbed"
        Whether the scoring pass attacks its inputs, with new adversarial examples. Recorded losses are always those of
        the attacked inputs.
    autocast : torch.dtype, optional
        Mixed precision for training and scoring: ``torch.bfloat16``.
    scheduler : LRScheduler, optional
        Learning-rate schedule, stepped after each epoch without a metric. Step a ReduceLROnPlateau in `on_epoch`.
    checkpoint : Checkpoint, optional
        Resume from its file if there is one, and save to it after every epoch. It must hold the model, the optimizer,
        `rrm` and `scheduler` if passed, a loss with a state such as ELR, and the loader's generator if it has its own.
        It should also hold the generator of a transform that has its own, which `fit` can't detect.
    on_epoch : callable, optional
        Called as ``on_epoch(epoch, mean_loss)`` after each epoch, before the checkpoint is saved. Epochs count from 1;
        the mean loss is unweighted, and leaves out samples whose loss is NaN because they have no label.

    Returns
    -------
    Seconds
        Time spent by this call.

    Warns
    -----
    UserWarning
        The run ends before the first reweight, or with it.

    Raises
    ------
    TypeError
        `rrm`, `attack`, a batch, or what the loss returned has the wrong type.
    ValueError
        The loader yields no batch, a loss isn't one value per sample, options contradict each other, `rrm` has neither
        contamination nor gamma, or the checkpoint lacks an object, belongs to another run, or has done more epochs than
        `epochs`.

    Notes
    -----
    An error or Ctrl-C leaves the model, the optimizer and `rrm` at some batch of an epoch. The checkpoint's file holds
    the state after the last epoch that ended: `fit` with the same objects, or with new ones in another process, resumes
    from it and ends with the bits of an uninterrupted run. Before the first epoch has ended there is no file, and the
    objects must be made anew.

    With ``warmup="auto"`` and a `score_loader` there is a scoring pass after each epoch that may end the warm-up.

    If a loader has ``persistent_workers`` that draw random numbers, a resumed run draws different ones than an
    uninterrupted run.
    """
    _check_arguments(rrm, attack, score_loader, score_inputs, autocast, scheduler, epochs)
    if rrm is not None:
        rrm.to(device_of(model))
    epochs_done = 0
    if checkpoint is not None:
        _check_checkpoint(
            checkpoint, model=model, optimizer=optimizer, rrm=rrm, scheduler=scheduler, loss=loss, loader=loader
        )
        epochs_done = _resume(checkpoint, epochs)
    if isinstance(rrm, RRM):
        if epochs > 1:
            # A single epoch is no plan: the caller may go on, epoch by epoch.
            rrm.plan_epochs(_epochs_before(rrm, loader) + epochs - epochs_done)
        _warn_of_warmup(rrm, loader, epochs - epochs_done)
    score_attack = attack if score_inputs == "perturbed" else None
    seconds = Seconds()
    for epoch in range(epochs_done + 1, epochs + 1):
        start = time.perf_counter()
        _set_epoch(loader, epoch)
        if rrm is not None:
            # Of an epoch that was interrupted, and begins again here.
            rrm.discard_epoch()
        mean_loss = _train_epoch(model, loader, optimizer, rrm, loss, attack, autocast)
        trained = time.perf_counter()
        seconds.training += trained - start
        if rrm is not None and rrm.unit == "epoch":
            scored = trained
            losses = None
            if score_loader is not None and rrm.due:
                losses = _score_epoch(model, score_loader, rrm, loss, score_attack, autocast)
                scored = time.perf_counter()
                seconds.scoring += scored - trained
            elif score_loader is not None:
                # The losses recorded in training are not used, and need not be complete.
                rrm.reset_losses()
            rrm.step(losses)
            if losses is not None:
                # Only now, so that they are still there if the pass or the step fails.
                rrm.reset_losses()
            seconds.reweighting += time.perf_counter() - scored
        if scheduler is not None:
            scheduler.step()
        if on_epoch is not None:
            on_epoch(epoch, mean_loss.value())
        if checkpoint is not None:
            checkpoint.save(epoch)
    return seconds


def _check_arguments(
    rrm: BaseRRM | None,
    attack: Attack | None,
    score_loader: Loader | None,
    score_inputs: str,
    autocast: torch.dtype | None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None,
    epochs: int,
) -> None:
    """Raise if an argument of `fit` is invalid or two of them contradict each other."""
    if attack is not None and rrm is not None and score_inputs == "clean" and score_loader is None:
        raise ValueError(
            "score_inputs='clean' needs a score_loader: the losses recorded in training are those of attacked inputs"
        )
    if score_inputs not in ("perturbed", "clean"):
        raise ValueError(f"score_inputs must be 'perturbed' or 'clean', got {score_inputs!r}")
    if autocast not in (None, torch.bfloat16):
        raise ValueError(
            f"autocast must be torch.bfloat16 or None, got {autocast!r}; float16 needs a gradient scaler, and a "
            "training loop of your own"
        )
    if not isinstance(attack, (Attack, NoneType)):
        raise TypeError(f"attack must be one of rrm_torch.adversarial, such as FGSM(0.1), got {attack!r}")
    if rrm is not None:
        _check_rrm(rrm, score_loader)
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise ValueError("scheduler must step without a metric; step a ReduceLROnPlateau in on_epoch")
    if operator.index(epochs) < 0:
        raise ValueError(f"epochs must be at least 0, got {epochs}")


def _check_rrm(rrm: object, score_loader: Loader | None) -> None:
    """Raise unless `fit` can use an RRM, with a scoring pass if there is one."""
    if not isinstance(rrm, BaseRRM):
        raise TypeError(f"rrm must be an RRM or a BatchRRM, got {rrm!r}")
    if isinstance(rrm, RRM) and not rrm.settings.has_threshold:
        raise ValueError(
            "rrm must be made with a contamination or gamma: fit passes none to its steps; contamination='auto' "
            "estimates it"
        )
    if score_loader is not None and (rrm.unit == "step" or isinstance(rrm, BatchRRM)):
        raise ValueError(
            f"score_loader can't be used with {type(rrm).__name__} and unit={rrm.unit!r}; leave it out, and the losses "
            "recorded in training are used"
        )
    if score_loader is not None and isinstance(rrm, RRM) and rrm.settings.rank_by != "loss":
        raise ValueError(
            f"score_loader can't be used with rank_by={rrm.settings.rank_by!r}, which ranks by the outputs recorded in "
            "training; leave it out"
        )


def _epochs_before(rrm: RRM, loader: Loader) -> int:
    """Return the number of epochs that have ended before; 0 where steps are counted and their number is unknown."""
    if rrm.unit == "epoch":
        return rrm.epoch
    return rrm.epoch // len(loader) if isinstance(loader, Sized) and len(loader) else 0


def _warn_of_warmup(rrm: RRM, loader: Loader, epochs: int) -> None:
    """Warn, once, if the first reweight comes too late to change the training of so many more epochs."""
    if rrm.trajectory.rounds or not epochs:
        return
    end = rrm.epochs or _epochs_before(rrm, loader) + epochs
    epoch_length = 1
    if rrm.unit == "step":
        if not isinstance(loader, Sized):
            return
        epoch_length = len(loader)
    rrm.warn_of_end(end * epoch_length, epoch_length)


def _check_checkpoint(checkpoint: Checkpoint, *, loss: object, loader: Loader, **objects: object) -> None:
    """Raise unless the checkpoint holds every object whose state changes during training."""
    required = {name: value for name, value in objects.items() if value is not None}
    if hasattr(loss, "state_dict"):
        required["loss"] = loss
    generator = _loader_generator(loader)
    if generator is not None:
        required["order"] = generator
    saved = {id(value) for value in checkpoint.contents()}
    missing = [name for name, value in required.items() if id(value) not in saved]
    if missing:
        hint = " (the loader's generator)" if "order" in missing else ""
        raise ValueError(f"checkpoint must hold {', '.join(missing)}{hint}: Checkpoint(path, {missing[0]}=...)")


def _resume(checkpoint: Checkpoint, epochs: int) -> int:
    """Load the checkpoint's file if there is one; return the number of epochs done."""
    epochs_done = checkpoint.load()
    if epochs_done > epochs:
        raise ValueError(
            f"epochs={epochs} is less than the {epochs_done} epochs done in checkpoint {str(checkpoint.path)!r}"
        )
    return epochs_done


def _train_epoch(
    model: nn.Module,
    loader: Loader,
    optimizer: torch.optim.Optimizer,
    rrm: BaseRRM | None,
    loss: Loss | Regularized,
    attack: Attack | None,
    autocast: torch.dtype | None,
) -> MeanLoss:
    """Train for one epoch; return the mean of the unweighted losses."""
    device = device_of(model)
    model.train()
    mean_loss = MeanLoss(device)
    for batch in loader:
        index, x, y = split_indexed_batch(batch)
        x = to_device(x, device)
        y = to_device(y, device)
        if attack is not None:
            weights = rrm.weights_for(index) if rrm is not None and attack.weighted else None
            with autocast_context(device, autocast):
                x = attack(model, x, y, label_loss(loss), weights=weights)
        with autocast_context(device, autocast):
            losses, regularizer, outputs = split_loss(loss, model, x, y, index)
        if rrm is not None:
            batch_loss = rrm.weighted_mean(losses, index, regularizer=regularizer, logits=outputs, labels=y)
        else:
            batch_loss = batch_mean(losses, regularizer)
        optimizer.zero_grad()
        batch_loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if rrm is not None and rrm.unit == "step":
            rrm.step()
        mean_loss.add(losses.detach())
    if mean_loss.n_samples == 0:
        raise ValueError("loader yields no batch")
    return mean_loss


def _score_epoch(
    model: nn.Module,
    loader: Loader,
    rrm: BaseRRM,
    loss: Loss | Regularized,
    attack: Attack | None,
    autocast: torch.dtype | None,
) -> Tensor | None:
    """Return the losses of a scoring pass; with several ranks, record those of this rank's samples and return None."""
    if rrm.layout is None:
        return score(model, loader, loss, attack=attack, autocast=autocast)
    # The whole pass before the losses recorded in training are dropped. A generator that was left half-way would also
    # leave inference mode on.
    batches = list(score_batches(model, loader, label_loss(loss), attack=attack, autocast=autocast))
    rrm.reset_losses()
    for index, losses in batches:
        rrm.record(losses, index)
    return None


def _samplers(loader: Loader) -> Iterator[Any]:
    """Yield the samplers of a DataLoader, including those nested in a batch sampler."""
    for attribute in ("batch_sampler", "sampler"):
        sampler = getattr(loader, attribute, None)
        while sampler is not None:
            yield sampler
            sampler = getattr(sampler, "sampler", None)


def _set_epoch(loader: Loader, epoch: int) -> None:
    """Pass the epoch to distributed samplers, which shuffle by it."""
    for sampler in _samplers(loader):
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)


def _loader_generator(loader: Loader) -> torch.Generator | None:
    """Return the generator that shuffles a DataLoader, if it has its own."""
    for sampler in _samplers(loader):
        generator = getattr(sampler, "generator", None)
        if isinstance(generator, torch.Generator):
            return generator
    return None
