"""ELR+: early-learning regularization with MixUp, two networks and averages of their weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._models import device_of, to_device
from ..losses.elr import CLAMP
from ..weighting.rrm import RRM
from .method import MakeOptimizer, MakeScheduler, Row, make_optimizers, update
from .mixup import MixUp
from .ramps import exponential_ramp
from .setting_checks import check_above_zero, check_batch_size, check_weight
from .soft_labels import check_logits, one_hot, soft_cross_entropy
from .training_set import TrainingSet
from .two_networks import Ensemble, TwoNetworkMethod, check_models
from .weight_average import averaged_copy, update_average

SGD = partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=5e-4)
"""The published optimizer for CIFAR-10 and CIFAR-100."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of samples.

    Attributes
    ----------
    inputs : Tensor, shape (batch, ...)
        Augmented, not mixed.
    labels : Tensor, shape (batch, n_classes)
        Given labels as distributions.
    average_predictions : Tensor, shape (batch, n_classes)
        The moving averages q of the samples' predictions before this batch; 0 at first.
    weights : Tensor, shape (batch,), optional
        Weights of the labels, from `RRM`.
    """

    inputs: Tensor
    labels: Tensor
    average_predictions: Tensor
    weights: Tensor | None = None


class Terms(NamedTuple):
    """Terms of the loss, and what else a step computes.

    Attributes
    ----------
    cross_entropy : Tensor, shape ()
    regularizer : Tensor, shape ()
        The mean of ``log(1 - <q, p>)``.
    regularizer_weight : float
    average_predictions : Tensor, shape (batch, n_classes)
        The moving averages q after this batch, of the samples themselves.
    """

    cross_entropy: Tensor
    regularizer: Tensor
    regularizer_weight: float
    average_predictions: Tensor

    @property
    def total(self) -> Tensor:
        """The loss: ``cross_entropy + regularizer_weight * regularizer``."""
        return self.cross_entropy + self.regularizer_weight * self.regularizer


def step(
    model: nn.Module,
    other_average: nn.Module,
    batch: Batch,
    mixup: MixUp,
    *,
    beta: float,
    regularizer_weight: float,
    product_targets: bool = False,
) -> Terms:
    """Return the loss of ELR+ for a batch.

    Parameters
    ----------
    model : nn.Module
        The network to train, in training mode.
    other_average : nn.Module
        The average of the other network's weights. It predicts the inputs before they are mixed, without gradient.
    batch : Batch
    mixup : MixUp
        Of as many rows.
    beta : float in [0, 1)
        Decay of the moving averages q.
    regularizer_weight : float
        lambda, with its ramp.
    product_targets : bool, default False
        Whether the mixed labels are multiplied by the mixed q and normalised.

    Returns
    -------
    Terms
        ``terms.total`` is the loss.
    """
    logits = model(mixup(batch.inputs)).float()
    check_logits(logits, batch.labels.shape[1])
    with torch.no_grad():
        predictions = other_average(batch.inputs).float().softmax(1)
    average_predictions = beta * batch.average_predictions + (1 - beta) * predictions
    q = mixup(average_predictions)
    targets = _mixed_targets(batch, mixup, q if product_targets else None)
    p = logits.softmax(1).clamp(CLAMP, 1 - CLAMP)
    regularizer = torch.log1p(-(q * p).sum(1)).mean()
    return Terms(soft_cross_entropy(logits, targets).mean(), regularizer, regularizer_weight, average_predictions)


def _mixed_targets(batch: Batch, mixup: MixUp, factors: Tensor | None) -> Tensor:
    """Return the targets of the cross-entropy, in which each label has its weight."""
    weighted = batch.labels
    if batch.weights is not None:
        weighted = weighted * batch.weights[:, None]
    targets = mixup(weighted)
    if factors is None:
        return targets
    # Normalised as without weights, so that these scale the two labels of a mixture and nothing else.
    total = (mixup(batch.labels) * factors).sum(1, keepdim=True)
    # 0 where the softmax of both labels is rounded to 0: then there is no target.
    return targets * factors / total.clamp(min=torch.finfo(total.dtype).tiny)


@dataclass(frozen=True)
class ElrPlusSettings:
    """The settings of `ELRPlus`; see there.

    Attributes
    ----------
    batch_size, beta, weight, ramp_steps, decay, decay_ramp_steps, alpha, product_targets
    """

    batch_size: int
    beta: float
    weight: float
    ramp_steps: float
    decay: float
    decay_ramp_steps: float
    alpha: float
    product_targets: bool

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size)
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta must lie in [0, 1), got {self.beta}")
        check_weight("weight", self.weight)
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {self.decay}")
        if not self.ramp_steps >= 0:
            raise ValueError(f"ramp_steps must be at least 0, got {self.ramp_steps}")
        if not self.decay_ramp_steps >= 0:
            raise ValueError(f"decay_ramp_steps must be at least 0, got {self.decay_ramp_steps}")
        check_above_zero("alpha", self.alpha)


class ELRPlus(TwoNetworkMethod):
    """ELR+ [1]_: two networks whose predictions are pulled towards earlier ones of each other's average.

    The loss of a mixture of samples by MixUp is the cross-entropy plus ``weight * log(1 - <q, p>)``: p is the softmax
    of the outputs, clamped to [1e-4, 1 - 1e-4], and q mixed like the labels. Each sample's q is a moving average of
    what the average of the other network's weights predicts for the sample before it is mixed.

    With `rrm` each label has a weight, which is multiplied to it before it is mixed; the regularizer has none, since it
    doesn't depend on labels. Each network has its own RRM, over all samples. At the end of an epoch in which its
    reweight is due, the network's own losses are computed, of samples without augmentation or MixUp.

    Parameters
    ----------
    models : tuple of two nn.Modules
        Return logits of shape (batch, n_classes). Initialise them differently.
    data : TrainingSet
    rrm : tuple of two RRMs, optional
        ``RRM(n, contamination=0.2, warmup=10)`` for each.
    optimizer : callable, default SGD with rate 0.02, momentum 0.9 and weight decay 5e-4
        Called with the parameters of each network.
    scheduler : callable, optional
        Called with each optimizer; its schedule is stepped after each epoch. The published rate is divided by 10 after
        epoch 150 of 200 (CIFAR-10), 200 of 250 (CIFAR-100) and 7 of 15 (Clothing1M):
        ``partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[150])``.
    batch_size : int, default 128
    beta : float in [0, 1), default 0.7
        Decay of the moving averages q of predictions.
    weight : float, default 3
        lambda, the weight of the regularizer.
    ramp_steps : float, default 0
        Steps in which the weight rises from nearly 0, as ``exp(-5 (1 - t)^2)``.
    decay : float in [0, 1), default 0.997
        Of the averages of weights.
    decay_ramp_steps : float, default 40,000
        Steps in which this decay rises from nearly 0, likewise. Before, averages follow the networks closely.
    alpha : float, default 1
        The shares of MixUp are drawn from Beta(alpha, alpha); each sample's own share is the larger one.
    product_targets : bool, default False
        Whether the cross-entropy has the products of mixed labels and mixed q, normalised, as targets.
    autocast : torch.dtype, optional
        Mixed precision: ``torch.bfloat16``.
    seed : int, default 0
        Of all random draws. A run with the same seed has the same bits.

    Attributes
    ----------
    averages : tuple of two nn.Modules
        The networks with averaged weights.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    Notes
    -----
    The defaults are those published for CIFAR-10. For CIFAR-100: ``beta=0.9, weight=7, ramp_steps=40_000,
    product_targets=True``. For Clothing1M: SGD with rate 0.002 and weight decay 1e-3, batches of 64, ``decay=0.999,
    decay_ramp_steps=0``, and 3,000 batches an epoch, which here is a pass over all samples.

    As in the authors' code, averages predict in training mode, so that their batch norm uses and collects the
    statistics of samples that are not mixed.

    References
    ----------
    .. [1] Liu, Niles-Weed, Razavian, Fernandez-Granda, "Early-Learning Regularization Prevents Memorization of Noisy
       Labels", NeurIPS 2020.
    """

    def __init__(
        self,
        models: tuple[nn.Module, nn.Module],
        data: TrainingSet,
        *,
        rrm: tuple[RRM, RRM] | None = None,
        optimizer: MakeOptimizer = SGD,
        scheduler: MakeScheduler | None = None,
        batch_size: int = 128,
        beta: float = 0.7,
        weight: float = 3.0,
        ramp_steps: float = 0.0,
        decay: float = 0.997,
        decay_ramp_steps: float = 40_000.0,
        alpha: float = 1.0,
        product_targets: bool = False,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        self._elr = ElrPlusSettings(
            batch_size=batch_size,
            beta=beta,
            weight=weight,
            ramp_steps=ramp_steps,
            decay=decay,
            decay_ramp_steps=decay_ramp_steps,
            alpha=alpha,
            product_targets=product_targets,
        )
        check_models(models)
        self.averages = (averaged_copy(models[0]), averaged_copy(models[1]))
        names = ("optimizer_1", "optimizer_2")
        self._optimizers, parts = make_optimizers(names, [m.parameters() for m in models], optimizer, scheduler)
        super().__init__(
            models,
            data,
            parts={**parts, "average_1": self.averages[0], "average_2": self.averages[1]},
            settings=asdict(self._elr),
            rrm=rrm,
            batch_size=batch_size,
            confidence_penalty=0.0,
            autocast=autocast,
            seed=seed,
        )
        for each in rrm or ():
            if not each.settings.has_threshold:
                raise ValueError("rrm must have a contamination or gamma, since ELR+ doesn't estimate any, got neither")
        self._tensors = {
            name: torch.zeros(len(data), data.n_classes, device=device_of(model))
            for name, model in zip(("predictions_1", "predictions_2"), models, strict=True)
        }

    @property
    def predictor(self) -> nn.Module:
        """The classifier that adds the logits of both averages."""
        return Ensemble(self.averages)

    @property
    def average_predictions(self) -> tuple[Tensor, Tensor]:
        """The moving averages q that each network is trained with: float32, shape (n, n_classes); 0 at first.

        A label that differs from the class of its row's largest entry is suspicious.
        """
        return self._tensors["predictions_1"], self._tensors["predictions_2"]

    def _begin(self, epochs: int) -> None:
        for rrm in self.rrm or ():
            if not rrm.trajectory.rounds:
                rrm.warn_of_end(rrm.epochs or epochs)

    def _train_epoch(self, epoch: int) -> Row:
        row: Row = {"loss": [self._train_network(k, epoch) for k in (0, 1)]}
        if self.rrm is None:
            return row
        for k, rrm in enumerate(self.rrm):
            rrm.step(self.losses_of(k) if rrm.due else None)
        row["pruned"] = [int(rrm.trajectory.last.count_nonzero()) for rrm in self.rrm]
        return row

    def _train_network(self, k: int, epoch: int) -> float:
        """Train network k for an epoch; return the mean loss."""
        model = self.models[k]
        other_average = self.averages[1 - k]
        model.train()
        other_average.train()
        draws = self.data.draws(self.seed, epoch, k)
        everything = torch.arange(len(self.data), device=self.data.device)
        parts = self.data.shuffled(everything, self._elr.batch_size, draws)
        losses = []
        for number, index in enumerate(parts, (epoch - 1) * len(parts) + 1):
            inputs = self.data.weak_view(self.data.inputs[index], draws)
            mixup = MixUp.draw(len(index), self._elr.alpha, draws)
            with self._autocast_context(model):
                terms = step(
                    model,
                    other_average,
                    self._batch(k, index, inputs),
                    mixup,
                    beta=self._elr.beta,
                    regularizer_weight=self._elr.weight * exponential_ramp(number, self._elr.ramp_steps),
                    product_targets=self._elr.product_targets,
                )
            update(self._optimizers[k], terms.total)
            decay = self._elr.decay * exponential_ramp(number + 1, self._elr.decay_ramp_steps)
            update_average(self.averages[k], model, decay)
            predictions = self.average_predictions[k]
            predictions[index.to(predictions.device)] = terms.average_predictions
            losses.append(terms.total.detach())
        return float(torch.stack(losses).mean())

    def _batch(self, k: int, index: Tensor, inputs: Tensor) -> Batch:
        """Return a batch for network k, on its device."""
        device = device_of(self.models[k])
        # A state may have been loaded from another device.
        name = f"predictions_{k + 1}"
        self._tensors[name] = to_device(self._tensors[name], device)
        return Batch(
            inputs=inputs.to(device),
            labels=one_hot(self.data.labels[index], self.data.n_classes).to(device),
            average_predictions=self._tensors[name][index.to(device)],
            weights=None if self.rrm is None else self.rrm[k].weights_for(index).float().to(device),
        )
