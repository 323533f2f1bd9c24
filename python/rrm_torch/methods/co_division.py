"""Co-division: each of two networks divides the samples into a labelled and an unlabelled set for the other one.

The loop that DivideMix and Centrality and Consistency share, and where RRM enters it.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .._models import device_of
from .division import Division, OnPruned, divide, estimated_shares
from .draws import Draws
from .method import Row
from .mixup import MixUp
from .ramps import linear_ramp
from .semi_supervised import Batch
from .soft_labels import one_hot
from .training_set import endless_batches
from .two_networks import TwoNetworkMethod


@dataclass(frozen=True, eq=False)
class Scores:
    """What the networks say of all samples at the start of an epoch.

    Attributes
    ----------
    losses : Tensor, shape (n,)
        The cross-entropy under the network.
    clean_probability : Tensor, shape (n,)
        The probability that each label is right, as the network judges.
    selected : Tensor of bool, shape (n,)
        The labelled set that the network selects for the other one.
    """

    losses: Tensor
    clean_probability: Tensor
    selected: Tensor


@dataclass(frozen=True)
class DivisionSettings:
    """Settings that DivideMix and Centrality and Consistency share; see these.

    Attributes
    ----------
    warmup, batch_size, unlabelled_weight, ramp, temperature, alpha, threshold, confidence_penalty, on_pruned
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

    def __post_init__(self) -> None:
        if self.warmup < 1:
            raise ValueError(f"warmup must be at least 1 epoch, got {self.warmup}")
        if self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2, got {self.batch_size}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, got {self.alpha}")
        if not self.ramp > 0:
            raise ValueError(f"ramp must be above 0 epochs, got {self.ramp}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold must lie in (0, 1), got {self.threshold}")
        if self.unlabelled_weight < 0:
            raise ValueError(f"unlabelled_weight must be at least 0, got {self.unlabelled_weight}")
        if self.confidence_penalty < 0:
            raise ValueError(f"confidence_penalty must be at least 0, got {self.confidence_penalty}")
        if self.on_pruned not in ("drop", "unlabelled"):
            raise ValueError(f"on_pruned must be 'drop' or 'unlabelled', got {self.on_pruned!r}")


class CoDivision(TwoNetworkMethod):
    """A method whose networks select labelled sets for each other; see `DivideMix` for the arguments."""

    _division: DivisionSettings

    @abstractmethod
    def _score(self, k: int, epoch: int) -> Scores:
        """Return what network k says of all samples."""

    @abstractmethod
    def _warm_up(self, k: int, epoch: int) -> float:
        """Train network k on all given labels for an epoch; return the mean loss."""

    @abstractmethod
    def _train_batch(self, k: int, batch: Batch, mixup: MixUp, unlabelled_weight: float) -> Tensor:
        """Train network k on a batch; return the loss."""

    def _train_epoch(self, epoch: int) -> Row:
        self.divisions = None
        if epoch <= self._division.warmup:
            return {"loss": [self._warm_up(k, epoch) for k in (0, 1)]}
        scores = [self._score(k, epoch) for k in (0, 1)]
        # Each network trains on the set that the other one selects, and is judged by its own losses.
        first, second = (self._divide(k, scores[k].losses, scores[1 - k]) for k in (0, 1))
        self.divisions = (first, second)
        losses = [
            self._train_network(k, epoch, division, scores[1 - k].clean_probability.float().cpu())
            for k, division in enumerate(self.divisions)
        ]
        return {
            "loss": losses,
            "labelled": [len(division.labelled) for division in self.divisions],
            "pruned": [len(division.pruned) for division in self.divisions],
        }

    def _divide(self, k: int, losses: Tensor, selection: Scores) -> Division:
        """Return the samples as network k trains on them: the other network's selection, weighted by its own losses."""
        selected = selection.selected.cpu()
        rrm = None if self.rrm is None else self.rrm[k]
        contamination = None
        if rrm is not None and not rrm.settings.has_threshold and bool(selected.any()):
            contamination = estimated_shares(rrm, selection.clean_probability.cpu(), selected)
        return divide(selected, losses, rrm, contamination, self._division.on_pruned)

    def _train_network(self, k: int, epoch: int, division: Division, clean_probability: Tensor) -> float:
        """Train a network on its division for an epoch; return the mean loss."""
        if len(division.labelled) < 2:
            warnings.warn(
                f"network {k + 1} has no labelled set in epoch {epoch}: none of the {len(self.data)} labels seems "
                f"right with a probability above {self._division.threshold}. It trains on all labels instead; a lower "
                "threshold or by_class=True may help",
                stacklevel=4,
            )
            return self._warm_up(k, epoch)
        self.models[k].train()
        self.models[1 - k].eval()
        draws = self.data.draws(self.seed, epoch, k)
        parts = self.data.shuffled(division.labelled.to(self.data.device), self._division.batch_size, draws)
        losses = []
        for number, batch in enumerate(self._batches(k, parts, division, clean_probability, draws)):
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
