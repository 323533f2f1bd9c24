"""CC, Centrality and Consistency: selection by the position of features, and two more heads."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .._checks import check_count
from .._models import device_of, evaluation_mode
from ..weighting.rrm import RRM
from .centrality import above_otsu, central_probability, centrality, discrepancy
from .centrality_network import CentralityNetwork
from .co_division import CoDivision, DivisionSettings, Scores
from .dividemix import SGD
from .division import OnPruned
from .method import SCORING_BATCH, MakeOptimizer, MakeScheduler, make_optimizers, update
from .mixup import MixUp
from .selection import MixtureSettings, low_probability, normalise
from .semi_supervised import Batch, MixedBatch, Terms, guess_targets, loss_terms, mix
from .training_set import TrainingSet, endless_batches
from .two_networks import check_models

DISCREPANCY_WEIGHT = 0.1

Split = Literal["mixture", "otsu"]


class Losses(NamedTuple):
    """The losses of a batch, and what the step on the backbone needs.

    Attributes
    ----------
    main : Terms
        Of the classifier.
    heads : Tensor, shape ()
        Of both heads, on features that pass no gradient on.
    mixed : MixedBatch
        Its inputs are those of `backbone_loss`.
    """

    main: Terms
    heads: Tensor
    mixed: MixedBatch


def step(
    model: CentralityNetwork,
    other: nn.Module,
    batch: Batch,
    mixup: MixUp,
    *,
    unlabelled_weight: float,
    temperature: float = 0.5,
) -> Losses:
    """Return the losses of the classifier and of the heads for a batch.

    Targets and mixtures are those of DivideMix. The loss of the heads is the sum of their labelled and unlabelled
    terms, and the mean of their penalties.

    Parameters
    ----------
    model : CentralityNetwork
        The network to train, in training mode.
    other : nn.Module
        The other network, in evaluation mode.
    batch : Batch
    mixup : MixUp
        Of ``batch.n_rows`` rows.
    unlabelled_weight : float
        lambda_u, with its ramp.
    temperature : float, default 0.5
    """
    mixed = mix(batch, guess_targets(model, other, batch, temperature), mixup)
    features = model.features(mixed.inputs)
    main = loss_terms(model.classify(features), mixed, unlabelled_weight)
    outputs = model.heads(model.reduce(features.detach()))
    first, second = (loss_terms(logits, mixed, unlabelled_weight) for logits in outputs)
    heads = (
        first.labelled
        + second.labelled
        + unlabelled_weight * (first.unlabelled + second.unlabelled)
        + (first.penalty + second.penalty) / 2
    )
    return Losses(main, heads, mixed)


def backbone_loss(model: CentralityNetwork, inputs: Tensor) -> Tensor:
    """Return the loss of the step on the backbone alone: 0.1 times the mean discrepancy of the heads, shape ()."""
    first, second = model.heads(model.reduce(model.features(inputs)))
    return DISCREPANCY_WEIGHT * discrepancy(first, second).mean()


class CC(CoDivision):
    """Centrality and Consistency [1]_: DivideMix that selects samples by their features, with two further heads.

    A sample is selected if its features are close to the centre of its given class, that is, of the samples that both
    heads together predict as this class: a mixture of two Gaussians is fitted to the cosines. The networks then learn
    as in DivideMix, and so do two heads on features that pass no gradient on. A third step changes the backbone alone,
    so that these heads agree.

    With `rrm` the labels of the labelled set have weights, which are multiplied to the targets of all three heads
    before MixUp; the losses that decide on them are those of the classifier.

    Parameters
    ----------
    models : tuple of two CentralityNetworks
        Initialise them differently.
    data : TrainingSet
    rrm, on_pruned, scheduler, warmup, batch_size, ramp, temperature, confidence_penalty, epoch_samples, autocast, seed
        See `DivideMix`. The paper has a warm-up of 30 epochs for CIFAR, of 1 for Clothing1M.
    optimizer : callable, default SGD with rate 0.02, momentum 0.9 and weight decay 5e-4
        Called twice for each network: with the parameters of backbone and classifier, and with those of the reduction
        and of both heads. With a `discrepancy_threshold`, once more for the steps that make the heads differ, which
        have the current rate of the heads.
    unlabelled_weight : float, default 25
        lambda_u.
    alpha : float, default 4
    threshold : float in (0, 1), default 0.4
        A label is kept if its cosine belongs to the higher component with a higher probability. The paper has 0.4 for
        CIFAR-10, and 0.4, 0.5 and 0.3 for 20, 40 and 60 % noise in CIFAR-100.
    discrepancy_threshold : float in [0, 1), default 0
        Of the selected samples, those are kept whose two heads are consistent with a higher probability: the heads are
        first trained to differ. 0 keeps all. The paper has 0.3 for 60 % noise in CIFAR-100 and 0.5 for Clothing1M.
    discrepancy_batches : int, default 100
        Batches in which the heads are trained to differ. The paper has 1,500 for Clothing1M.
    split : {"mixture", "otsu"}, default "mixture"
        How cosines are divided; ``"otsu"``, for Clothing1M, by Otsu's threshold in each class. There is no mixture of
        cosines then: the probability that a selected label is right is that of the discrepancies, or 1 without them.
    by_class : bool, default False
        Fit a mixture to the cosines of each class. Not in the paper.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type or value.
    ImportError
        scikit-learn is not installed.

    Notes
    -----
    Heads are trained to differ by 0.1 times their mean discrepancy. The authors' code weights samples by the frequency
    of their class, so that the weights of a batch sum to 1, and takes the mean of these products: its factor is that of
    the mean divided by the batch size, 0.1 / 64 for CIFAR and 2.3 / 32 for Clothing1M. There the backbone is in
    training mode meanwhile, and the heads are also trained to differ with a threshold of 0, which keeps all samples.

    In the step on the backbone the classifier has no gradient, and its optimizer skips it. Before torch 2, gradients
    were zeros there, so that momentum and weight decay went on.

    References
    ----------
    .. [1] Zhao, Li, Qu, Liu, Zhang, "Centrality and Consistency: Two-Stage Clean Samples Identification for Learning
       with Instance-Dependent Noisy Labels", ECCV 2022.
    """

    models: tuple[CentralityNetwork, CentralityNetwork]

    def __init__(
        self,
        models: tuple[CentralityNetwork, CentralityNetwork],
        data: TrainingSet,
        *,
        rrm: tuple[RRM, RRM] | None = None,
        on_pruned: OnPruned = "drop",
        optimizer: MakeOptimizer = SGD,
        scheduler: MakeScheduler | None = None,
        warmup: int = 30,
        batch_size: int = 64,
        unlabelled_weight: float = 25.0,
        ramp: float = 16.0,
        temperature: float = 0.5,
        alpha: float = 4.0,
        threshold: float = 0.4,
        discrepancy_threshold: float = 0.0,
        discrepancy_batches: int = 100,
        split: Split = "mixture",
        confidence_penalty: float = 0.0,
        by_class: bool = False,
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
        if split not in ("mixture", "otsu"):
            raise ValueError(f"split must be 'mixture' or 'otsu', got {split!r}")
        if not 0 <= discrepancy_threshold < 1:
            raise ValueError(f"discrepancy_threshold must lie in [0, 1), got {discrepancy_threshold}")
        check_count("discrepancy_batches", discrepancy_batches)
        check_models(models)
        if not all(isinstance(model, CentralityNetwork) for model in models):
            raise TypeError("models must be two CentralityNetworks; CentralityNetwork(backbone, n_features, n_classes)")
        self._split = split
        self._discrepancy_threshold = discrepancy_threshold
        self._discrepancy_batches = discrepancy_batches
        # The published settings of the fits: of cosines, and of discrepancies in each class.
        self._mixture = MixtureSettings(max_iter=100, tol=0.1, by_class=by_class, seed=seed)
        self._consistency_mixture = MixtureSettings(by_class=True, seed=seed)
        groups = [group for model in models for group in (model.main_parameters(), model.head_parameters())]
        names = ("optimizer_1", "heads_optimizer_1", "optimizer_2", "heads_optimizer_2")
        optimizers, parts = make_optimizers(names, groups, optimizer, scheduler)
        self._main_optimizers = (optimizers[0], optimizers[2])
        self._head_optimizers = (optimizers[1], optimizers[3])
        if discrepancy_threshold:
            self._selection_remedy = "a lower discrepancy_threshold may help"
            # Their own, so that the momentum of steps apart doesn't act in training.
            heads = [[*model.first_head.parameters(), *model.second_head.parameters()] for model in models]
            self._discrepancy_optimizers, more_parts = make_optimizers(
                ["discrepancy_optimizer_1", "discrepancy_optimizer_2"], heads, optimizer, None
            )
            parts |= more_parts
        super().__init__(
            models,
            data,
            division,
            parts=parts,
            settings={
                **asdict(self._mixture),
                "split": split,
                "discrepancy_threshold": discrepancy_threshold,
                "discrepancy_batches": discrepancy_batches,
            },
            rrm=rrm,
            autocast=autocast,
            seed=seed,
        )

    def _warm_up(self, k: int, epoch: int, index: Tensor) -> float:
        model = self.models[k]
        draws = self.data.draws(self.seed, epoch, k)
        model.train()
        losses = []
        for _, x, y in self.data.weak_batches(2 * self._batch_size, draws, device_of(model), index):
            with self._autocast_context(model):
                features = model.features(x)
                logits = model.classify(features)
                outputs = model.heads(model.reduce(features.detach()))
            loss = self._plain_loss(logits, y)
            update(self._main_optimizers[k], loss)
            update(self._head_optimizers[k], self._plain_loss(outputs[0], y) + self._plain_loss(outputs[1], y))
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    def _train_batch(self, k: int, batch: Batch, mixup: MixUp, unlabelled_weight: float) -> Tensor:
        model = self.models[k]
        main = self._main_optimizers[k]
        with self._autocast_context(model):
            losses = step(
                model,
                self.models[1 - k],
                batch,
                mixup,
                unlabelled_weight=unlabelled_weight,
                temperature=self._division.temperature,
            )
        update(main, losses.main.total)
        update(self._head_optimizers[k], losses.heads)
        with self._autocast_context(model):
            loss = backbone_loss(model, losses.mixed.inputs)
        update(main, loss)
        return losses.main.total

    def _score(self, k: int, epoch: int, index: Tensor) -> Scores:
        logits, reduced, predictions = self._outputs(k, index)
        labels = self.data.labels.cpu()[index]
        losses = F.cross_entropy(logits, labels, reduction="none")
        cosines = centrality(reduced, labels, predictions, self.data.n_classes)
        if self._split == "mixture":
            probability = central_probability(cosines, labels, self._mixture)
            selected = probability > self._division.threshold
        else:
            selected = above_otsu(cosines, labels, self.data.n_classes)
            probability = selected.float()
        if self._discrepancy_threshold and bool(selected.any()):
            consistency = self._consistency(k, epoch, index[selected])
            if self._split == "otsu":
                probability[selected] = consistency
            selected[selected.clone()] = consistency > self._discrepancy_threshold
        return Scores(losses, probability, selected)

    @torch.inference_mode()
    def _outputs(self, k: int, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the classifier's logits, the reduced features and the heads' joint predictions, on the host."""
        model = self.models[k]
        device = device_of(model)
        logits = []
        reduced = []
        predictions = []
        with evaluation_mode(model), self._autocast_context(model):
            for _, x, _ in self.data.batches(SCORING_BATCH, index):
                features = model.features(x.to(device))
                logits.append(model.classify(features).cpu())
                reduced_features = model.reduce(features)
                reduced.append(reduced_features.cpu())
                first, second = model.heads(reduced_features)
                predictions.append((first + second).argmax(1).cpu())
        return torch.cat(logits), torch.cat(reduced), torch.cat(predictions)

    def _consistency(self, k: int, epoch: int, members: Tensor) -> Tensor:
        """Return the probability that two heads that were trained to differ agree on each of the selected samples."""
        model = self.models[k]
        device = device_of(model)
        draws = self.data.draws(self.seed, epoch, k, 1)
        optimizer = self._discrepancy_optimizers[k]
        for group in optimizer.param_groups:
            group["lr"] = self._head_optimizers[k].param_groups[0]["lr"]
        labels = self.data.labels.cpu()[members]
        members = members.to(self.data.device)
        model.eval()
        model.first_head.train()
        model.second_head.train()
        for part in islice(endless_batches(self.data, members, self._batch_size, draws), self._discrepancy_batches):
            x = self.data.weak_view(self.data.inputs[part], draws).to(device)
            with torch.no_grad(), self._autocast_context(model):
                reduced = model.reduce(model.features(x))
            update(optimizer, -DISCREPANCY_WEIGHT * discrepancy(*model.heads(reduced)).mean())
        values = self._discrepancies(model, members)
        return low_probability(normalise(values, name="discrepancies"), labels, self._consistency_mixture)

    @torch.inference_mode()
    def _discrepancies(self, model: CentralityNetwork, members: Tensor) -> Tensor:
        """Return the discrepancy of the heads for some samples, on the host."""
        values = []
        with evaluation_mode(model), self._autocast_context(model):
            for _, x, _ in self.data.batches(SCORING_BATCH, members):
                values.append(discrepancy(*model.heads(model.reduce(model.features(x.to(device_of(model)))))).cpu())
        return torch.cat(values)
