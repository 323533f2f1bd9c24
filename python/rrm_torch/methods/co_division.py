"""Co-division: each of two networks divides the samples into a labelled and an unlabelled set for the other one.

The loop that DivideMix and Centrality and Consistency share, and where RRM enters it.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_count
from .._models import device_of
from ..data.balanced_subset import balanced_subset
from ..training.stateful import Stateful
from ..weighting.rrm import RRM
from .division import Division, OnPruned, check_on_pruned, divide, estimated_shares
from .draws import Draws
from .method import Row
from .mixup import MixUp
from .ramps import linear_ramp
from .rrm_checks import check_rounds
from .semi_supervised import Batch
from .setting_checks import check_above_zero, check_batch_size, check_weight
from .soft_labels import one_hot
from .training_set import TrainingSet, endless_batches
from .two_networks import TwoNetworkMethod

NEITHER_NETWORK = 2
"""Tells draws that concern both networks from those of each."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a network says of an epoch's samples at its start.

    Attributes
    ----------
    losses : Tensor, shape (m,)
        The cross-entropy under the network.
    clean_probability : Tensor, shape (m,)
        The probability that each label is right, as the network judges; on the host.
    selected : Tensor of bool, shape (m,)
        The labelled set that the network selects for the other one; on the host.
    """

    losses: Tensor
    clean_probability: Tensor
    selected: Tensor


@dataclass(frozen=True)
class DivisionSettings:
    """Settings that DivideMix and Centrality and Consistency share; see these.

    Attributes
    ----------
    warmup, batch_size, unlabelled_weight, ramp, temperature, alpha, threshold, confidence_penalty, on_pruned,
    epoch_samples
    """

    warmup: int
    batch_size: int
    unlabelled_weight: float
    ramp: float
    temperature: float
    alpha: float
    threshold: float
    confidence_penalty: float
    on_pruned: OnPruned
    epoch_samples: int | None

    def __post_init__(self) -> None:
        check_count("warmup", self.warmup)
        check_batch_size(self.batch_size)
        check_above_zero("temperature", self.temperature)
        check_above_zero("alpha", self.alpha)
        check_above_zero("ramp", self.ramp, " epochs")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie in (0, 1), got {self.threshold}")
        check_weight("unlabelled_weight", self.unlabelled_weight)
        check_weight("confidence_penalty", self.confidence_penalty)
        check_on_pruned(self.on_pruned)
        if self.epoch_samples is not None and check_count("epoch_samples", self.epoch_samples) < 2:
            raise ValueError(f"epoch_samples must be at least 2, got {self.epoch_samples}")


class CoDivision(TwoNetworkMethod):
    """A method whose networks select labelled sets for each other; see `DivideMix` for the arguments."""

    _division: DivisionSettings
    _selection_remedy = "a lower threshold or by_class=True may help"

    def __init__(
        self,
        models: tuple[nn.Module, nn.Module],
        data: TrainingSet,
        division: DivisionSettings,
        *,
        parts: dict[str, Stateful],
        settings: dict[str, Any],
        rrm: tuple[RRM, RRM] | None,
        autocast: torch.dtype | None,
        seed: int,
    ) -> None:
        self._division = division
        super().__init__(
            models,
            data,
            parts=parts,
            settings={**asdict(division), **settings},
            rrm=rrm,
            batch_size=division.batch_size,
            confidence_penalty=division.confidence_penalty,
            autocast=autocast,
            seed=seed,
        )
        if division.epoch_samples is not None and division.epoch_samples > len(data):
            raise ValueError(
                f"epoch_samples must be at most {len(data)}, the samples of the training set, got "
                f"{division.epoch_samples}; leave it out to use all"
            )
        check_rounds(rrm)

    @abstractmethod
    def _score(self, k: int, epoch: int, index: Tensor) -> Scores:
        """Return what network k says of the samples with these indices, ascending and on the host."""

    @abstractmethod
    def _warm_up(self, k: int, epoch: int, index: Tensor) -> float:
        """Train network k on the given labels of these samples for an epoch; return the mean loss."""

    @abstractmethod
    def _train_batch(self, k: int, batch: Batch, mixup: MixUp, unlabelled_weight: float) -> Tensor:
        """Train network k on a batch; return the loss."""

    def _train_epoch(self, epoch: int) -> Row:
        self.divisions = None
        index = self._samples_of(epoch)
        if epoch <= self._division.warmup:
            return {"loss": [self._warm_up(k, epoch, index) for k in (0, 1)]}
        scores = [self._score(k, epoch, index) for k in (0, 1)]
        # Each network trains on the set that the other one selects, and is judged by its own losses.
        first, second = (self._divide(k, index, scores[k].losses, scores[1 - k]) for k in (0, 1))
        self.divisions = (first, second)
        losses = []
        # Not a comprehension, which would be a frame more for the level of the warning in some versions of Python.
        for k, division in enumerate(self.divisions):
            losses.append(self._train_network(k, epoch, index, division, scores[1 - k].clean_probability))
        return {
            "loss": losses,
            "labelled": [len(division.labelled) for division in self.divisions],
            "pruned": [len(division.pruned) for division in self.divisions],
        }

    def _samples_of(self, epoch: int) -> Tensor:
        """Return the indices of the samples that an epoch uses, ascending, on the host."""
        n = self._division.epoch_samples
        if n is None:
            return torch.arange(len(self.data))
        draws = Draws(self.seed, epoch, NEITHER_NETWORK)
        return balanced_subset(self.data.labels.cpu(), n, draws.generator).sort().values

    def _divide(self, k: int, index: Tensor, losses: Tensor, selection: Scores) -> Division:
        """Return the samples as network k trains on them: the other network's selection, weighted by its own losses."""
        selected = selection.selected
        rrm = None if self.rrm is None else self.rrm[k]
        contamination = None
        if rrm is not None and not rrm.settings.has_threshold and bool(selected.any()):
            contamination = estimated_shares(rrm, index, selection.clean_probability, selected)
        return divide(index, selected, losses, rrm, contamination, self._division.on_pruned)

    def _train_network(self, k: int, epoch: int, index: Tensor, division: Division, clean_probability: Tensor) -> float:
        """Train a network on its division of the samples for an epoch; return the mean loss."""
        if len(division.labelled) < 2:
            warnings.warn(
                f"network {k + 1} has no labelled set in epoch {epoch}: {len(division.labelled)} of the {len(index)} "
                f"labels seem right, and two are needed. It trains on all labels instead; {self._selection_remedy}",
                stacklevel=4,
            )
            return self._warm_up(k, epoch, index)
        by_sample = torch.ones(len(self.data))
        by_sample[index] = clean_probability.float()
        self.models[k].train()
        self.models[1 - k].eval()
        draws = self.data.draws(self.seed, epoch, k)
        parts = self.data.shuffled(division.labelled.to(self.data.device), self._division.batch_size, draws)
        losses = []
        for number, batch in enumerate(self._batches(k, parts, division, by_sample, draws)):
            mixup = MixUp.draw(batch.n_rows, self._division.alpha, draws)
            progress = epoch - 1 + number / len(parts) - self._division.warmup
            weight = self._division.unlabelled_weight * linear_ramp(progress, self._division.ramp)
            losses.append(self._train_batch(k, batch, mixup, weight).detach())
        return float(torch.stack(losses).mean())

    def _batches(
        self, k: int, parts: list[Tensor], division: Division, clean_probability: Tensor, draws: Draws
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch: each of the labelled samples once, and as many unlabelled ones in turn."""
        device = device_of(self.models[k])
        unlabelled: Iterator[Tensor] | None = None
        if len(division.unlabelled):
            index = division.unlabelled.to(self.data.device)
            unlabelled = endless_batches(self.data, index, self._division.batch_size, draws)
        for index in parts:
            first, second = self._views(index, draws, device)
            host_index = index.cpu()
            yield Batch(
                first=first,
                second=second,
                labels=one_hot(self.data.labels[index], self.data.n_classes).to(device),
                clean_probability=clean_probability[host_index].to(device),
                weights=None if division.weights is None else division.weights[host_index].to(device),
                unlabelled=None if unlabelled is None else self._views(next(unlabelled), draws, device),
            )

    def _views(self, index: Tensor, draws: Draws, device: torch.device) -> tuple[Tensor, Tensor]:
        x = self.data.inputs[index]
        first = self.data.weak_view(x, draws).to(device)
        return first, self.data.weak_view(x, draws).to(device)
