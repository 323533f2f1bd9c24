"""ProMix: as many samples as possible are used with a label, their own or one that two networks agree on."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .._models import device_of
from ..weighting.rrm import RRM
from .division import Division, OnPruned, divide
from .draws import Draws
from .fmix import FMixMask
from .method import MakeOptimizer, MakeScheduler, Row, make_optimizers, update
from .promix_loss import Batch, Mixing, Priors, step
from .promix_network import TwoHeadNetwork
from .promix_settings import ProMixSettings
from .rrm_checks import check_rounds
from .selection import Quota, class_wise_small_loss
from .soft_labels import one_hot
from .training_set import TrainingSet
from .two_networks import TwoNetworkMethod, check_models

SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=5e-4)
"""The published optimizer."""

MIXUP_ALPHA = 4.0


class ProMix(TwoNetworkMethod):
    """ProMix [1]_: each network trains on the samples with the smallest losses of each class, and on confident ones.

    After a warm-up, in each epoch each network chooses the samples with the smallest losses of each class. In a batch,
    it adds those whose given label it predicts with confidence and, late in training, those on whose class both
    networks agree. These have a label; their loss is that of both heads for a weak view, and with a rising weight for a
    strong view, MixUp and FMix. Early in training the pseudo head also learns guessed labels of the others.

    With `rrm` the labels have weights, which are multiplied to the targets before both mixtures. RRM plans over the
    samples chosen by their losses, by the losses of the network itself. Samples added by confidence have weight 1, and
    so have those added by agreement, whose target is a prediction.

    Parameters
    ----------
    models : tuple of two TwoHeadNetworks
        Initialise them differently.
    data : TrainingSet
        With a strong augmentation. Closest to the authors' is ``RandAugment(3, 5, probability=0.5)`` before the weak
        augmentation.
    rrm : tuple of two RRMs, optional
        ``RRM(n, warmup=1)`` for each: rounds are counted from the end of the method's warm-up. If it has neither a
        contamination nor gamma, `contamination` is needed.
    contamination : float in [0, 1), optional
        The share of wrong labels in the whole training set. RRM is told what is left of them in the chosen samples if
        all others are wrong; if it has groups and no cap, in each group, with the same share in all of them.
    on_pruned : {"drop", "unlabelled"}, default "drop"
        What becomes of a sample that RRM prunes. ``"drop"``: its target is 0. ``"unlabelled"``: it is not chosen, nor
        added by confidence in its label; all other weights are 1.
    optimizer : callable, default SGD with rate 0.05, momentum 0.9 and weight decay 5e-4
        Called with the parameters of both networks together.
    scheduler : callable, optional
        Called with the optimizer; stepped after each epoch. The paper anneals the rate along half a cosine.
    warmup : int, default 10
        Epochs of plain training on all labels. The paper has 10 for CIFAR-10, 30 for CIFAR-100.
    batch_size : int, default 256
    share : float in (0, 1], default 0.5
        rho, the share of the samples that is chosen by losses. The paper has 0.7 for 20 % noise, 0.5 for more.
    final_share : float in (0, 1], optional
        The share after `ramp` epochs, by default the same.
    quota : {"balanced", "class"}, default "balanced"
        See `class_wise_small_loss`; ``"class"`` is for classes of different sizes.
    confidence : float in (0, 1), default 0.99
        tau: a sample whose label has a higher probability is chosen as well. The paper has 0.99 for CIFAR-10, 0.95 for
        CIFAR-100.
    agreement_confidence : float in (0, 1), optional
        Both networks must predict the class on which they agree with a higher probability; by default `confidence`.
    debiasing : float, default 0.8
        Multiple of the log prior that is added to logits. The paper has 0.8 for CIFAR-10, 0.5 for CIFAR-100.
    ramp : float, default 50
        Epochs, counted from the first, in which the weight of the strong view and of the mixtures rises to 1.
    pseudo_weight : float, default 0.1
        The largest weight of guessed labels.
    pseudo_epochs : int, default 100
        The last epoch with guessed labels, up to which their weight rises.
    agreement_epoch : int, default 350
        The last epoch without agreement. The paper has agreement in the last 250 of 600 epochs.
    confidence_penalty : float, default 0
        Weight of the negative entropy in the warm-up. The paper has 1 for asymmetric noise.
    autocast : torch.dtype, optional
        Mixed precision: ``torch.bfloat16``.
    seed : int, default 0
        Of all random draws. A run with the same seed has the same bits.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.

    References
    ----------
    .. [1] Xiao, Dong, Wang, Feng, Wu, Chen, Zhao, "ProMix: Combating Label Noise via Maximizing Clean Sample Utility",
       IJCAI 2023.
    """

    models: tuple[TwoHeadNetwork, TwoHeadNetwork]

    def __init__(
        self,
        models: tuple[TwoHeadNetwork, TwoHeadNetwork],
        data: TrainingSet,
        *,
        rrm: tuple[RRM, RRM] | None = None,
        contamination: float | None = None,
        on_pruned: OnPruned = "drop",
        optimizer: MakeOptimizer = SGD,
        scheduler: MakeScheduler | None = None,
        warmup: int = 10,
        batch_size: int = 256,
        share: float = 0.5,
        final_share: float | None = None,
        quota: Quota = "balanced",
        confidence: float = 0.99,
        agreement_confidence: float | None = None,
        debiasing: float = 0.8,
        ramp: float = 50.0,
        pseudo_weight: float = 0.1,
        pseudo_epochs: int = 100,
        agreement_epoch: int = 350,
        confidence_penalty: float = 0.0,
        autocast: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        self._promix = ProMixSettings(
            contamination=contamination,
            on_pruned=on_pruned,
            warmup=warmup,
            batch_size=batch_size,
            share=share,
            final_share=share if final_share is None else final_share,
            quota=quota,
            confidence=confidence,
            agreement_confidence=confidence if agreement_confidence is None else agreement_confidence,
            debiasing=debiasing,
            ramp=ramp,
            pseudo_weight=pseudo_weight,
            pseudo_epochs=pseudo_epochs,
            agreement_epoch=agreement_epoch,
            confidence_penalty=confidence_penalty,
        )
        check_models(models)
        if not all(isinstance(model, TwoHeadNetwork) for model in models):
            raise TypeError("models must be two TwoHeadNetworks; TwoHeadNetwork(backbone, n_features, n_classes)")
        parameters = [parameter for model in models for parameter in model.parameters()]
        (self._optimizer,), parts = make_optimizers(["optimizer"], [parameters], optimizer, scheduler)
        super().__init__(
            models,
            data,
            parts=parts,
            settings=asdict(self._promix),
            rrm=rrm,
            batch_size=batch_size,
            confidence_penalty=confidence_penalty,
            autocast=autocast,
            seed=seed,
        )
        for model in models:
            if model.n_classes != data.n_classes:
                raise ValueError(
                    f"models must have the {data.n_classes} classes of the training set, got {model.n_classes}; "
                    f"TwoHeadNetwork(backbone, n_features, n_classes={data.n_classes})"
                )
        if data.strong is None:
            raise ValueError("data must have a strong augmentation, got none; TrainingSet(..., strong=...)")
        for each in rrm or ():
            if not each.settings.has_threshold and contamination is None:
                raise ValueError(
                    "contamination must be given with an rrm that has neither contamination nor gamma: it is the share "
                    "of wrong labels in the training set"
                )
        check_rounds(rrm)
        priors = Priors.uniform(data.n_classes)
        self._tensors = {"chosen_priors": priors.chosen, "unchosen_priors": priors.unchosen}

    def _train_epoch(self, epoch: int) -> Row:
        self.divisions = None
        if epoch <= self._promix.warmup:
            return {"loss": self._warm_up(epoch)}
        self.divisions = (self._choose(0, epoch), self._choose(1, epoch))
        loss, n_chosen = self._train_jointly(epoch, self.divisions)
        return {
            "loss": loss,
            "labelled": [len(division.labelled) for division in self.divisions],
            "pruned": [len(division.pruned) for division in self.divisions],
            "labelled_in_batches": n_chosen,
        }

    def _warm_up(self, epoch: int) -> float:
        """Train the primary heads of both networks on all given labels for an epoch; return the mean loss."""
        draws = self.data.draws(self.seed, epoch)
        device = device_of(self.models[0])
        losses = []
        for model in self.models:
            model.train()
        for _, x, y in self.data.weak_batches(self._promix.batch_size, draws, device):
            check_images(x)
            loss = torch.zeros((), device=device)
            for model in self.models:
                with self._autocast_context(model):
                    logits = model(x)
                loss = loss + self._plain_loss(logits, y)
            update(self._optimizer, loss)
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def _choose(self, k: int, epoch: int) -> Division:
        """Return the samples that network k chooses by their losses, with RRM's weights."""
        losses = self.losses_of(k)
        settings = self._promix
        chosen = class_wise_small_loss(
            losses, self.data.labels, settings.share_at(epoch), self.data.n_classes, settings.quota
        )
        rrm = None if self.rrm is None else self.rrm[k]
        contamination = None
        if rrm is not None and not rrm.settings.has_threshold:
            contamination = self._contamination(rrm, chosen)
        return divide(torch.arange(len(chosen)), chosen, losses, rrm, contamination, settings.on_pruned)

    def _contamination(self, rrm: RRM, chosen: Tensor) -> float | npt.NDArray[np.float64] | None:
        """Return the share of wrong labels among the chosen samples; with groups and without a cap, in each group."""
        if rrm.groups is None or rrm.settings.cap is not None:
            return self._promix.contamination_of(float(chosen.double().mean()))
        numbers = torch.tensor(rrm.groups.numbers, dtype=torch.int64)
        n_chosen = torch.bincount(numbers[chosen], minlength=rrm.groups.n_groups)
        sizes = torch.bincount(numbers, minlength=rrm.groups.n_groups)
        shares = (n_chosen / sizes.clamp(min=1)).tolist()
        return np.array([self._promix.contamination_of(share) if share else 0.0 for share in shares], np.float64)

    def _train_jointly(self, epoch: int, divisions: tuple[Division, Division]) -> tuple[float, list[int]]:
        """Train both networks for an epoch; return the mean loss, and how many samples had a label in each."""
        device = device_of(self.models[0])
        draws = self.data.draws(self.seed, epoch)
        settings = self._promix.loss_at(epoch)
        priors = Priors(self._tensors["chosen_priors"].to(device), self._tensors["unchosen_priors"].to(device))
        chosen = torch.zeros(2, len(self.data), dtype=torch.bool)
        pruned = torch.zeros_like(chosen)
        for k, division in enumerate(divisions):
            chosen[k, division.labelled] = True
            pruned[k, division.pruned] = True
        weights = _stacked_weights(divisions, len(self.data))
        losses = []
        n_chosen = torch.zeros(2, dtype=torch.int64, device=device)
        everything = torch.arange(len(self.data), device=self.data.device)
        for model in self.models:
            model.train()
        for index in self.data.shuffled(everything, self._promix.batch_size, draws):
            x = self.data.inputs[index]
            host_index = index.cpu()
            weak = self.data.weak_view(x, draws).to(device)
            batch = Batch(
                weak=weak,
                strong=self.data.strong_view(x, draws).to(device),
                labels=one_hot(self.data.labels[index], self.data.n_classes).to(device),
                chosen=chosen[:, host_index].to(device),
                weights=None if weights is None else weights[:, host_index].to(device),
                pruned=pruned[:, host_index].to(device),
            )
            with self._autocast_context(self.models[0]):
                result = step(self.models, batch, draw_mixing(weak, draws), priors, settings)
            # Constant if no sample has a label and none is guessed, as may be in a last batch of two samples.
            if result.loss.requires_grad:
                update(self._optimizer, result.loss)
            priors = result.priors
            n_chosen += result.n_chosen
            losses.append(result.loss.detach())
        self._tensors = {"chosen_priors": priors.chosen.cpu(), "unchosen_priors": priors.unchosen.cpu()}
        return float(torch.stack(losses).mean()), n_chosen.tolist()


def check_images(x: Tensor) -> None:
    """Raise a ValueError unless a batch has images, shape (batch, C, H, W)."""
    if x.ndim != 4:
        raise ValueError(f"data must hold images, of which FMix mixes regions, got a batch of shape {tuple(x.shape)}")


def _stacked_weights(divisions: tuple[Division, Division], n: int) -> Tensor | None:
    """Return the weights of both networks' labels, shape (2, n); None if neither has any."""
    if all(division.weights is None for division in divisions):
        return None
    weights = torch.ones(2, n, dtype=torch.float32)
    for k, division in enumerate(divisions):
        if division.weights is not None:
            weights[k] = division.weights
    return weights


def draw_mixing(images: Tensor, draws: Draws) -> Mixing:
    """Return the random draws of a batch: of MixUp with Beta(4, 4), and of FMix with Beta(1, 1)."""
    share = draws.beta(MIXUP_ALPHA)
    height, width = images.shape[-2:]
    return Mixing(max(share, 1 - share), FMixMask.draw(height, width, draws), draws.permutation)
