"""Training of one classifier by cross-entropy, with RRM's weights: of all samples, or of a new draw in each epoch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from rrm_torch._models import device_of
from rrm_torch.data.balanced_subset import balanced_subset
from rrm_torch.methods import TrainingSet
from rrm_torch.methods.draws import Draws
from rrm_torch.methods.method import (
    SCORING_BATCH,
    MakeOptimizer,
    MakeScheduler,
    Method,
    Row,
    make_optimizers,
    update,
)
from rrm_torch.training.score import score
from rrm_torch.training.stateful import Stateful
from rrm_torch.weighting.rrm import RRM

from .read_ahead import read_ahead


class WeightedTraining(Method):
    """Cross-entropy training of one classifier.

    Without `epoch_samples`, an epoch is a pass over all samples, and RRM reweights by the losses of a scoring pass
    after it, as in the paper. With `epoch_samples`, each epoch draws samples, as many of each class as possible. They
    are scored, and RRM plans over them, before the network trains on them: of a million samples, hardly one of a draw
    has a recent loss.

    Parameters
    ----------
    model : nn.Module
        Returns logits of shape (batch, n_classes).
    data : TrainingSet
    rrm : RRM, optional
        With ``losses_from="pass"``. With `epoch_samples` its warm-up must be 1, since its rounds are then counted from
        the end of `warmup`, and it can't estimate the contamination.
    optimizer, scheduler : callable
        See `rrm_torch.methods.DivideMix`.
    batch_size : int
    epoch_samples : int, optional
    warmup : int, default 0
        With `epoch_samples`: epochs before RRM's first round.
    autocast : torch.dtype, optional
        Mixed precision: ``torch.bfloat16``.
    seed : int, default 0
        Of the order of the samples, of the augmentation and of the draws.

    Raises
    ------
    ValueError
        RRM is to estimate the contamination of drawn samples, or has a warm-up of its own beside theirs.
    """

    def __init__(
        self,
        model: nn.Module,
        data: TrainingSet,
        *,
        rrm: RRM | None = None,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler | None = None,
        batch_size: int,
        epoch_samples: int | None = None,
        warmup: int = 0,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        if rrm is not None and epoch_samples is not None and rrm.settings.needs_predictions:
            raise ValueError("rrm can't estimate the contamination of drawn samples; give it a contamination")
        if rrm is not None and epoch_samples is not None and rrm.settings.warmup != 1:
            raise ValueError(
                f"rrm must have a warm-up of 1 with epoch_samples, got {rrm.settings.warmup}; give `warmup` instead"
            )
        (self._optimizer,), parts = make_optimizers(["optimizer"], [model.parameters()], optimizer, scheduler)
        trained: dict[str, Stateful] = {"model": model, **parts}
        if rrm is not None:
            rrm.to(device_of(model))
            trained["rrm"] = rrm
        settings = {"batch_size": batch_size, "epoch_samples": epoch_samples, "warmup": warmup}
        super().__init__(data, trained, settings, seed, autocast)
        self.model = model
        self.rrm = rrm
        self._batch_size = batch_size
        self._epoch_samples = epoch_samples
        self._warmup = warmup

    @property
    def predictor(self) -> nn.Module:
        """The classifier."""
        return self.model

    def losses_of(self, index: Tensor) -> Tensor:
        """Return the losses of samples in evaluation mode, without augmentation, shape (m,), on the model's device."""
        loader = read_ahead(self.data.batches(SCORING_BATCH, index))
        return score(self.model, loader, autocast=self._autocast, among=index)

    def _train_epoch(self, epoch: int) -> Row:
        index = self._samples_of(epoch)
        if self.rrm is None:
            return {"loss": self._train(epoch, index)}
        # Of an epoch that was interrupted, and begins again here.
        self.rrm.discard_epoch()
        if self._epoch_samples is not None:
            if epoch > self._warmup:
                losses = self.losses_of(index)
                self.rrm.step(losses, among=index.to(losses.device))
            loss = self._train(epoch, index)
        else:
            loss = self._train(epoch, index)
            losses = None
            if self.rrm.due:
                losses = self.losses_of(index)
            self.rrm.step(losses)
        self.rrm.reset_losses()
        return {"loss": loss, "pruned": int(self.rrm.trajectory.last.sum())}

    def _samples_of(self, epoch: int) -> Tensor:
        """Return the indices of the samples of an epoch, ascending, on the host."""
        if self._epoch_samples is None:
            return torch.arange(len(self.data))
        generator = Draws(self.seed, epoch, 1).generator
        return balanced_subset(self.data.labels.cpu(), self._epoch_samples, generator).sort().values

    def _train(self, epoch: int, index: Tensor) -> float:
        """Train on samples once; return the mean of the unweighted losses."""
        device = device_of(self.model)
        self.model.train()
        total = torch.zeros((), device=device)
        draws = self.data.draws(self.seed, epoch)
        batches = self.data.weak_batches(self._batch_size, draws, device, index)
        for part, x, y in read_ahead(batches):
            with self._autocast_context(self.model):
                logits = self.model(x).float()
            losses = F.cross_entropy(logits, y, reduction="none")
            loss = losses.mean()
            if self.rrm is not None:
                loss = self.rrm.weighted_mean(losses, part, logits=logits, labels=y)
            update(self._optimizer, loss)
            total += losses.detach().sum()
        return float(total) / len(index)
