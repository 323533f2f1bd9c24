"""DivideMix: labels that seem wrong are dropped, and the samples used as unlabelled ones."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import torch
from torch import Tensor, nn

from .._checks import check_count
from ..weighting.rrm import RRM
from .co_division import CoDivision, DivisionSettings, Scores
from .division import OnPruned
from .method import MakeOptimizer, MakeScheduler, make_optimizers, update
from .mixup import MixUp
from .selection import MixtureSettings, low_probability, normalise
from .semi_supervised import Batch, Terms, guess_targets, loss_terms, mix
from .training_set import TrainingSet
from .two_networks import check_models

SGD = partial(torch.optim.SGD, lr=0.02, momentum=0.9, weight_decay=5e-4)
"""The published optimizer of DivideMix and of Centrality and Consistency."""


def step(
    model: nn.Module,
    other: nn.Module,
    batch: Batch,
    mixup: MixUp,
    *,
    unlabelled_weight: float,
    temperature: float = 0.5,
) -> Terms:
    """Return the loss of DivideMix for a batch.

    Parameters
    ----------
    model : nn.Module
        The network to train, in training mode.
    other : nn.Module
        The other network, in evaluation mode.
    batch : Batch
    mixup : MixUp
        Of ``batch.n_rows`` rows.
    unlabelled_weight : float
        lambda_u, with its ramp.
    temperature : float, default 0.5

    Returns
    -------
    Terms
        ``terms.total`` is the loss.
    """
    targets = guess_targets(model, other, batch, temperature)
    mixed = mix(batch, targets, mixup)
    return loss_terms(model(mixed.inputs), mixed, unlabelled_weight)


class DivideMix(CoDivision):
    """DivideMix [1]_: two networks that divide the samples for each other, and learn semi-supervised.

    After a warm-up, in each epoch a mixture of two Gaussians is fitted to the losses of all samples under each network.
    The samples that belong to the lower component are the labelled set of the other network, the others are unlabelled.
    The targets of both are guessed by the networks, see `rrm_torch.methods.semi_supervised`, and mixed by MixUp.

    With `rrm` the labels of the labelled set have weights, which are multiplied to the targets before MixUp. Each
    network has its own RRM, which plans over the network's labelled set by the network's own losses.

    Parameters
    ----------
    models : tuple of two nn.Modules
        Return logits of shape (batch, n_classes). Initialise them differently.
    data : TrainingSet
    rrm : tuple of two RRMs, optional
        ``RRM(n, warmup=1)`` for each: rounds are counted from the end of the method's warm-up. If it has neither a
        contamination nor gamma, the contamination is the mean probability that a label of the labelled set is wrong;
        with groups, such as ``groups=labels``, that of each group.
    on_pruned : {"drop", "unlabelled"}, default "drop"
        What becomes of a sample that RRM prunes. ``"drop"``: its target is 0, though its image still takes part in
        mixtures. ``"unlabelled"``: it joins the unlabelled set, where its label is guessed; all other weights are 1.
    optimizer : callable, default SGD with rate 0.02, momentum 0.9 and weight decay 5e-4
        Called with the parameters of each network.
    scheduler : callable, optional
        Called with each optimizer; its schedule is stepped after each epoch. The paper divides the rate by 10 after
        epoch 150 of 300: ``partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[150])``.
    warmup : int, default 10
        Epochs of plain training on all labels. The paper has 10 for CIFAR-10, 30 for CIFAR-100, 1 for Clothing1M.
    batch_size : int, default 64
        Labelled samples in a batch, and as many unlabelled ones; the warm-up has twice as many.
    unlabelled_weight : float, default 25
        lambda_u, the weight of the unlabelled loss. The paper has 0 for 20 % symmetric and for asymmetric noise, 25 for
        50 %, and 150 for CIFAR-100 with much noise.
    ramp : float, default 16
        Epochs in which it rises from 0.
    temperature : float, default 0.5
        Of sharpening.
    alpha : float, default 4
        The shares of MixUp are drawn from Beta(alpha, alpha).
    threshold : float in (0, 1), default 0.5
        A label is kept if it is right with a higher probability. The paper has 0.6 for 90 % noise.
    confidence_penalty : float, default 0
        Weight of the negative entropy in the warm-up. The paper has 1 for asymmetric noise.
    average_losses : int, default 1
        Epochs over which the losses are averaged for the mixture. The paper has 5 for 90 % noise.
    by_class : bool, default False
        Fit a mixture for each class. Not in the paper: with a single one hardly any sample of a class that is hard to
        learn is labelled.
    clip : float in (0, 1], optional
        Cut losses off at this quantile before they are scaled, see `MixtureSettings`. Not in the paper.
    epoch_samples : int, optional
        Samples of an epoch, drawn anew for each, as many of each class as possible: a million are too many to score
        after each epoch. The paper has 32,000 for Clothing1M. By default all.
    autocast : torch.dtype, optional
        Mixed precision: ``torch.bfloat16``.
    seed : int, default 0
        Of all random draws. A run with the same seed has the same bits.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.
    ImportError
        scikit-learn is not installed.

    References
    ----------
    .. [1] Li, Socher, Hoi, "DivideMix: Learning with Noisy Labels as Semi-supervised Learning", ICLR 2020.

    Examples
    --------
    >>> import torch
    >>> from rrm_torch import RRM
    >>> from rrm_torch.methods import DivideMix, TrainingSet
    >>> data = TrainingSet(torch.randn(60, 4), torch.arange(60) % 3, n_classes=3)
    >>> networks = (torch.nn.Linear(4, 3), torch.nn.Linear(4, 3))
    >>> rrm = (RRM(60, warmup=1), RRM(60, warmup=1))
    >>> method = DivideMix(networks, data, rrm=rrm, warmup=1, batch_size=16)
    >>> history = method.fit(3)
    >>> [row["epoch"] for row in history]
    [1, 2, 3]
    >>> logits = method.predictor.eval()(data.inputs)
    """

    def __init__(
        self,
        models: tuple[nn.Module, nn.Module],
        data: TrainingSet,
        *,
        rrm: tuple[RRM, RRM] | None = None,
        on_pruned: OnPruned = "drop",
        optimizer: MakeOptimizer = SGD,
        scheduler: MakeScheduler | None = None,
        warmup: int = 10,
        batch_size: int = 64,
        unlabelled_weight: float = 25.0,
        ramp: float = 16.0,
        temperature: float = 0.5,
        alpha: float = 4.0,
        threshold: float = 0.5,
        confidence_penalty: float = 0.0,
        average_losses: int = 1,
        by_class: bool = False,
        clip: float | None = None,
        epoch_samples: int | None = None,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        division = DivisionSettings(
            warmup=warmup,
            batch_size=batch_size,
            unlabelled_weight=unlabelled_weight,
            ramp=ramp,
            temperature=temperature,
            alpha=alpha,
            threshold=threshold,
            confidence_penalty=confidence_penalty,
            on_pruned=on_pruned,
            epoch_samples=epoch_samples,
        )
        if check_count("average_losses", average_losses) > 1 and epoch_samples is not None:
            raise ValueError(
                f"average_losses={average_losses} needs the losses of all samples in each epoch; leave epoch_samples "
                "out"
            )
        self._average_losses = average_losses
        self._mixture = MixtureSettings(by_class=by_class, clip=clip, seed=seed)
        check_models(models)
        names = ("optimizer_1", "optimizer_2")
        self._optimizers, parts = make_optimizers(names, [m.parameters() for m in models], optimizer, scheduler)
        super().__init__(
            models,
            data,
            division,
            parts=parts,
            settings={**asdict(self._mixture), "average_losses": average_losses},
            rrm=rrm,
            autocast=autocast,
            seed=seed,
        )

    def _warm_up(self, k: int, epoch: int, index: Tensor) -> float:
        return self._train_plainly(k, self._optimizers[k], epoch, index)

    def _score(self, k: int, epoch: int, index: Tensor) -> Scores:  # noqa: ARG002
        losses = self.losses_of(k, index)
        values = self._averaged(k, normalise(losses, self._mixture.clip))
        probability = low_probability(values, self.data.labels.cpu()[index], self._mixture)
        return Scores(losses, probability, probability > self._division.threshold)

    def _averaged(self, k: int, values: Tensor) -> Tensor:
        """Return the mean of the normalised losses of the last epochs, and remember these."""
        if self._average_losses == 1:
            return values
        name = f"losses_{k + 1}"
        rows = values[None]
        if name in self._tensors:
            rows = torch.cat([self._tensors[name], rows])[-self._average_losses :]
        self._tensors[name] = rows
        return rows.mean(0)

    def _train_batch(self, k: int, batch: Batch, mixup: MixUp, unlabelled_weight: float) -> Tensor:
        model = self.models[k]
        with self._autocast_context(model):
            terms = step(
                model,
                self.models[1 - k],
                batch,
                mixup,
                unlabelled_weight=unlabelled_weight,
                temperature=self._division.temperature,
            )
        update(self._optimizers[k], terms.total)
        return terms.total
