"""RegMixUp under sharpness-aware minimization: the loss of SURE without its ranking term."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._models import device_of
from ..training.score import score
from ..training.stateful import Stateful
from ..weighting.rrm import RRM
from .draws import Draws
from .method import SCORING_BATCH, MakeOptimizer, MakeScheduler, Method, Row, make_optimizers
from .mixup import MixUp
from .rrm_checks import check_rrm
from .setting_checks import check_above_zero, check_batch_size, check_weight
from .sharpness_aware import sharpness_aware_update
from .soft_labels import one_hot, soft_cross_entropy
from .training_set import TrainingSet

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=5e-4)
"""The published optimizer of SURE for CIFAR-10 and CIFAR-100."""


class Terms(NamedTuple):
    """Terms of the loss, and what else a step computes.

    Attributes
    ----------
    cross_entropy : Tensor, shape ()
        The weighted mean cross-entropy of the samples.
    mixed : Tensor, shape ()
        The weighted mean cross-entropy of their mixtures.
    mix_weight : float
    losses : Tensor, shape (batch,)
        The cross-entropy of each sample, without its weight.
    logits : Tensor, shape (batch, n_classes)
        The outputs for the samples.
    """

    cross_entropy: Tensor
    mixed: Tensor
    mix_weight: float
    losses: Tensor
    logits: Tensor

    @property
    def total(self) -> Tensor:
        """The loss: ``cross_entropy + mix_weight * mixed``."""
        return self.cross_entropy + self.mix_weight * self.mixed


def step(
    model: nn.Module, x: Tensor, labels: Tensor, mixup: MixUp, *, mix_weight: float, weights: Tensor | None = None
) -> Terms:
    """Return the loss of RegMixUp for a batch: the cross-entropy of the samples and of their mixtures.

    Parameters
    ----------
    model : nn.Module
        In training mode.
    x : Tensor, shape (batch, ...)
        Augmented samples.
    labels : Tensor, shape (batch, n_classes)
        Given labels as distributions.
    mixup : MixUp
        Of as many rows.
    mix_weight : float
    weights : Tensor, shape (batch,), optional
        Weights of the labels, from `RRM`: also in mixtures, where each of two labels has its own.

    Returns
    -------
    Terms
        ``terms.total`` is the loss.
    """
    logits = model(x).float()
    mixed_logits = model(mixup(x)).float()
    weighted = labels
    if weights is not None:
        weighted = labels * weights[:, None]
    return Terms(
        cross_entropy=soft_cross_entropy(logits, weighted).mean(),
        mixed=soft_cross_entropy(mixed_logits, mixup(weighted)).mean(),
        mix_weight=mix_weight,
        losses=soft_cross_entropy(logits, labels),
        logits=logits,
    )


@dataclass(frozen=True)
class RegMixUpSettings:
    """The settings of `RegMixUp`; see there.

    Attributes
    ----------
    batch_size, mix_weight, alpha, rho
    """

    batch_size: int
    mix_weight: float
    alpha: float
    rho: float

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        check_weight("mix_weight", self.mix_weight)
        check_above_zero("alpha", self.alpha)
        if not 0 <= self.rho < float("inf"):
            raise ValueError(f"rho must be finite and at least 0, got {self.rho}")


class RegMixUp(Method):
    """RegMixUp [1]_ under sharpness-aware minimization, two of the parts of SURE [2]_.

    The loss of a batch is the mean cross-entropy of its samples plus `mix_weight` times that of their mixtures by
    MixUp. SAM computes it twice in each step, with other mixtures the second time. The other parts of SURE are left
    out: the correctness ranking loss, averages of weights, and the classifier by cosines.

    With `rrm` each label has a weight in both terms: in a mixture of samples i and j the loss is
    ``l w_i CE(z, y_i) + (1 - l) w_j CE(z, y_j)``. The losses that decide about samples are their cross-entropies in
    training, without MixUp and at the weights, not at those that SAM perturbs.

    Parameters
    ----------
    model : nn.Module
        Returns logits of shape (batch, n_classes).
    data : TrainingSet
    rrm : RRM, optional
        ``RRM(n, contamination=0.2)``. Also with ``contamination="auto"``; and with ``losses_from="pass"``, where the
        losses of samples without augmentation are computed at the end of an epoch in which a reweight is due.
    optimizer : callable, default SGD with rate 0.1, momentum 0.9 and weight decay 5e-4
        Called with the parameters of the network.
    scheduler : callable, optional
        Called with the optimizer; its schedule is stepped after each epoch. SURE has a cosine schedule:
        ``partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=200)``.
    batch_size : int, default 128
    mix_weight : float, default 0.5
        Weight of the mixtures' loss. SURE has 0.5 for wide residual networks on CIFAR-10, and 1 for Animal-10N and
        Food-101N. With 1 and ``rho=0``, this is the loss of RegMixUp's paper.
    alpha : float, default 10
        The shares of MixUp are drawn from Beta(alpha, alpha); here a sample's own share may be the smaller one.
    rho : float, default 0.05
        How far SAM moves the weights. 0 leaves SAM out, and halves the cost.
    autocast : torch.dtype, optional
        Mixed precision: ``torch.bfloat16``.
    seed : int, default 0
        Of all random draws. A run with the same seed has the same bits.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    Notes
    -----
    As in the authors' code, all four forward passes of a step are in training mode, so that each updates the running
    statistics of batch norm. For Food-101N SURE trains a ResNet-50 for 30 epochs, with batches of 64 and a rate of
    0.01.

    References
    ----------
    .. [1] Pinto, Yang, Lim, Torr, Dokania, "Using Mixup as a Regularizer Can Surprisingly Improve Accuracy and
       Out-of-Distribution Robustness", NeurIPS 2022.
    .. [2] Li, Chen, Yu, Chen, Shen, "SURE: SUrvey REcipes for building reliable and robust deep networks", CVPR 2024.
    """

    def __init__(
        self,
        model: nn.Module,
        data: TrainingSet,
        *,
        rrm: RRM | None = None,
        optimizer: MakeOptimizer = SGD,
        scheduler: MakeScheduler | None = None,
        batch_size: int = 128,
        mix_weight: float = 0.5,
        alpha: float = 10.0,
        rho: float = 0.05,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        self._regmixup = RegMixUpSettings(batch_size=batch_size, mix_weight=mix_weight, alpha=alpha, rho=rho)
        _check_model(model)
        (self._optimizer,), trained = make_optimizers(("optimizer",), [model.parameters()], optimizer, scheduler)
        parts: dict[str, Stateful] = {"model": model, **trained}
        if rrm is not None:
            parts["rrm"] = rrm
        super().__init__(data, parts, asdict(self._regmixup), seed, autocast)
        if rrm is not None:
            if not isinstance(rrm, RRM):
                raise TypeError(f"rrm must be an RRM or None, got {rrm!r:.200}")
            check_rrm(rrm, len(data))
            if not rrm.settings.has_threshold:
                raise ValueError("rrm must have a contamination or gamma, got neither")
        self.model = model
        self.rrm = rrm

    @property
    def predictor(self) -> nn.Module:
        """The network."""
        return self.model

    def _begin(self, epochs: int) -> None:
        if self.rrm is None:
            return
        if epochs > 1:
            # A single epoch is no plan: the caller may go on, epoch by epoch.
            self.rrm.plan_epochs(epochs)
        if not self.rrm.trajectory.rounds:
            self.rrm.warn_of_end(self.rrm.epochs or epochs)

    def _train_epoch(self, epoch: int) -> Row:
        if self.rrm is not None:
            # Of an epoch that was interrupted, and begins again here.
            self.rrm.discard_epoch()
        self.model.train()
        draws = self.data.draws(self.seed, epoch)
        batches = self.data.weak_batches(self._regmixup.batch_size, draws, device_of(self.model))
        losses = [self._train_batch(index, x, y, draws) for index, x, y in batches]
        row: Row = {"loss": float(torch.stack(losses).mean())}
        if self.rrm is not None:
            self._reweight(self.rrm)
            row["pruned"] = int(self.rrm.trajectory.last.count_nonzero())
        return row

    def _train_batch(self, index: Tensor, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
        """Take one step; return the loss."""
        labels = one_hot(y, self.data.n_classes)
        weights = None
        if self.rrm is not None:
            weights = self.rrm.weights_for(index).float().to(x.device)

        def loss(is_recorded: bool) -> Tensor:
            mixup = MixUp.draw(len(x), self._regmixup.alpha, draws, keeps_order=False)
            with self._autocast_context(self.model):
                terms = step(self.model, x, labels, mixup, mix_weight=self._regmixup.mix_weight, weights=weights)
            if is_recorded and self.rrm is not None:
                self.rrm.weighted_mean(terms.losses.detach(), index, logits=terms.logits.detach(), labels=y)
            return terms.total

        return sharpness_aware_update(self._optimizer, loss, self._regmixup.rho)

    def _reweight(self, rrm: RRM) -> None:
        if rrm.settings.losses_from != "pass":
            rrm.step()
            return
        losses = None
        if rrm.due:
            losses = score(self.model, self.data.batches(SCORING_BATCH), autocast=self._autocast)
        rrm.step(losses)
        rrm.reset_losses()


def _check_model(model: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a module that returns logits, got {type(model).__name__}")
