"""The loss of ProMix for a batch: which samples have a label, and what the two heads of each network learn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .fmix import FMixMask
from .mixup import MixUp
from .promix_network import Logits, TwoHeadNetwork
from .soft_labels import one_hot, sharpen, soft_cross_entropy

TEMPERATURE = 0.5
PRIOR_DECAY = 0.9999
AGREED_SHARE = 0.9
"""Share of a batch up to which samples are added by agreement."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples as two views, with what each network has chosen.

    Attributes
    ----------
    weak, strong : Tensor, shape (batch, C, H, W)
        A weakly and a strongly augmented view.
    labels : Tensor, shape (batch, n_classes)
        Given labels as distributions.
    chosen : Tensor of bool, shape (2, batch)
        The samples that each network trains on with their labels, by class-wise small loss.
    weights : Tensor, shape (2, batch), optional
        Weights of the labels, from each network's `RRM`.
    pruned : Tensor of bool, shape (2, batch), optional
        The samples that each network's RRM pruned. Confidence in their labels doesn't add them.
    """

    weak: Tensor
    strong: Tensor
    labels: Tensor
    chosen: Tensor
    weights: Tensor | None = None
    pruned: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Priors:
    """Moving averages of each network's mean prediction, each of shape (2, n_classes), all above 0.

    Attributes
    ----------
    chosen, unchosen : Tensor
        Over the samples with their given label, and over the others.
    """

    chosen: Tensor
    unchosen: Tensor

    @classmethod
    def uniform(cls, n_classes: int) -> Priors:
        """Return uniform priors."""
        prior = torch.full((2, n_classes), 1 / n_classes, dtype=torch.float32)
        return cls(prior, prior.clone())

    def updated(self, probabilities: list[Tensor], chosen: list[Tensor]) -> Priors:
        """Return the averages after a batch; an average without a sample in the batch stays as it is."""
        after = Priors(self.chosen.clone(), self.unchosen.clone())
        for k, (p, mask) in enumerate(zip(probabilities, chosen, strict=True)):
            for prior, members in ((after.chosen, mask), (after.unchosen, ~mask)):
                if bool(members.any()):
                    prior[k] = PRIOR_DECAY * prior[k] + (1 - PRIOR_DECAY) * p[members].mean(0).to(prior)
        return after


@dataclass(frozen=True)
class LossSettings:
    """Settings of the loss of one epoch.

    Attributes
    ----------
    consistency_weight : float
        r, the weight of the strong view and of both mixtures.
    pseudo_weight : float
        beta, the weight of guessed labels.
    confidence : float
        tau: a sample whose label has a higher probability is chosen as well.
    agreement_confidence : float
        The same for the class that both networks predict.
    debiasing : float, default 0.8
        Multiple of the log prior that is added to logits in training, and subtracted for guesses.
    agrees : bool, default False
        Whether samples on whose class both networks agree are chosen, with the class that each guesses.
    """

    consistency_weight: float
    pseudo_weight: float
    confidence: float
    agreement_confidence: float
    debiasing: float = 0.8
    agrees: bool = False


@dataclass(frozen=True, eq=False)
class Mixing:
    """The random draws of a batch.

    Attributes
    ----------
    share : float
        The share of a sample itself in MixUp, at least one half.
    fmix : FMixMask
    permutation : callable
        ``permutation(m)`` returns a random permutation of the m chosen samples; called twice for each network.
    """

    share: float
    fmix: FMixMask
    permutation: Callable[[int], Tensor]


class Result(NamedTuple):
    """The loss of a batch, and what it changes.

    Attributes
    ----------
    loss : Tensor, shape ()
        Of both networks, summed.
    priors : Priors
        After this batch.
    n_chosen : Tensor of int64, shape (2,)
        Samples with a label.
    """

    loss: Tensor
    priors: Priors
    n_chosen: Tensor


def step(
    models: tuple[TwoHeadNetwork, TwoHeadNetwork], batch: Batch, mixing: Mixing, priors: Priors, settings: LossSettings
) -> Result:
    """Return the loss of ProMix for a batch.

    Parameters
    ----------
    models : tuple of two TwoHeadNetworks
        In training mode.
    batch : Batch
    mixing : Mixing
    priors : Priors
        Those before this batch, which the loss uses.
    settings : LossSettings
    """
    weak = [model.both(batch.weak) for model in models]
    strong = [model.both(batch.strong) for model in models]
    probabilities = [logits.primary.detach().softmax(1) for logits in weak]
    matched = [_matched(batch, k, p, settings.confidence) for k, p in enumerate(probabilities)]
    loss = batch.labels.new_zeros(())
    n_chosen = []
    for k, model in enumerate(models):
        targets = batch.labels
        if batch.weights is not None:
            targets = targets * batch.weights[k][:, None]
        chosen = matched[k]
        shift = settings.debiasing * priors.chosen[k].log()
        if settings.agrees:
            agreed = agreement(probabilities, chosen, settings.agreement_confidence)
            # Their target is a guess, which no weight of a label concerns.
            guess = (weak[k].primary.detach() - shift).argmax(1)
            targets = torch.where(agreed[:, None], one_hot(guess, targets.shape[1]), targets)
            chosen = chosen | agreed
        loss = loss + _labelled_loss(model, batch.weak, (weak[k], strong[k]), targets, chosen, mixing, shift, settings)
        shift = settings.debiasing * priors.unchosen[k].log()
        loss = loss + _guessed_loss((weak[k], strong[k]), ~chosen, shift, settings)
        n_chosen.append(chosen.count_nonzero())
    return Result(loss, priors.updated(probabilities, matched), torch.stack(n_chosen))


def _matched(batch: Batch, k: int, probabilities: Tensor, confidence: float) -> Tensor:
    """Return the samples on whose given label network k trains: the chosen ones, and those it is confident of."""
    added = (probabilities * batch.labels).sum(1) > confidence
    if batch.pruned is not None:
        added = added & ~batch.pruned[k]
    return batch.chosen[k] | added


def agreement(probabilities: list[Tensor], chosen: Tensor, confidence: float) -> Tensor:
    """Return which samples are chosen because both networks predict the same class with confidence: bool, (batch,).

    Parameters
    ----------
    probabilities : list of two Tensors, shape (batch, n_classes)
    chosen : Tensor of bool, shape (batch,)
        Samples that have a label already.
    confidence : float
        Both networks' largest probability must exceed it.

    Notes
    -----
    Samples are added in the order of their mean confidence until 90 % of the batch have a label.
    """
    (first, first_class), (second, second_class) = (p.max(1) for p in probabilities)
    agreed = (first_class == second_class) & (first > confidence) & (second > confidence) & ~chosen
    n_free = int(AGREED_SHARE * len(chosen)) - int(chosen.count_nonzero())
    if int(agreed.count_nonzero()) <= n_free:
        return agreed
    mean = torch.where(agreed, first + second, -1.0)
    added = torch.zeros_like(agreed)
    added[mean.argsort(descending=True, stable=True)[: max(n_free, 0)]] = True
    return added


def _labelled_loss(
    model: TwoHeadNetwork,
    inputs: Tensor,
    views: tuple[Logits, Logits],
    targets: Tensor,
    chosen: Tensor,
    mixing: Mixing,
    shift: Tensor,
    settings: LossSettings,
) -> Tensor:
    """Return the loss of the chosen samples of a network, of both heads: of two views, of MixUp and of FMix."""
    targets = targets[chosen]
    if not len(targets):
        return targets.new_zeros(())
    weak, strong = (Logits(view.primary[chosen], view.pseudo[chosen]) for view in views)
    consistency = _heads_loss(strong, targets, shift)
    # Batch norm can't be trained on a single sample, which has no partner either.
    if len(targets) > 1:
        for mixture, mixed_targets in _mixtures(inputs[chosen], targets, mixing):
            consistency = consistency + _heads_loss(model.both(mixture), mixed_targets, shift)
    return _heads_loss(weak, targets, shift) + settings.consistency_weight * consistency


def _heads_loss(logits: Logits, targets: Tensor, shift: Tensor) -> Tensor:
    """Return the mean soft cross-entropy of the shifted logits, summed over both heads."""
    primary, pseudo = (soft_cross_entropy(head + shift, targets).mean() for head in logits)
    return primary + pseudo


def _mixtures(x: Tensor, targets: Tensor, mixing: Mixing) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs and targets mixed by MixUp, then by FMix."""
    mixup = MixUp(mixing.share, mixing.permutation(len(x)))
    yield mixup(x), mixup(targets)
    fmix = mixing.fmix
    partner = mixing.permutation(len(x)).to(x.device)
    # Not of an argmax: a target of weight 0 would become one of class 0.
    yield fmix(x, partner), fmix.share * targets + (1 - fmix.share) * targets[partner]


def _guessed_loss(views: tuple[Logits, Logits], unchosen: Tensor, shift: Tensor, settings: LossSettings) -> Tensor:
    """Return the loss of the pseudo head for samples without a label, whose targets the primary head guesses."""
    weak, strong = views
    if not settings.pseudo_weight or not bool(unchosen.any()):
        return shift.new_zeros(())
    guess = (weak.primary.detach()[unchosen] - shift).softmax(1)
    targets = sharpen(guess, TEMPERATURE)
    loss = soft_cross_entropy(weak.pseudo[unchosen] + shift, targets).mean()
    loss = loss + settings.consistency_weight * soft_cross_entropy(strong.pseudo[unchosen] + shift, targets).mean()
    return settings.pseudo_weight * loss
