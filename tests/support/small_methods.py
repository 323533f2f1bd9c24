"""Small training sets and networks for methods with two networks, and methods that keep what they train on."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rrm_torch import RRM
from rrm_torch.methods.cc import CC, CentralityNetwork
from rrm_torch.methods.co_division import CoDivision, Scores
from rrm_torch.methods.dividemix import DivideMix
from rrm_torch.methods.mixup import MixUp
from rrm_torch.methods.semi_supervised import Batch
from rrm_torch.methods.training_set import TrainingSet
from support.clouds import three_clouds

N = 48
N_CLASSES = 3


def jitter(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return points with noise: an augmentation."""
    return x + 0.1 * torch.randn(x.shape, generator=generator)


def noisy_set(n: int = N, share: float = 0.25) -> TrainingSet:
    """Return points of three clouds; the first `share` of them have the label of another cloud."""
    x, y = three_clouds(n)
    is_wrong = torch.arange(n) < share * n
    return TrainingSet(x, torch.where(is_wrong, (y + 1) % N_CLASSES, y), N_CLASSES, weak=jitter)


def backbone() -> nn.Module:
    """Return a module with 8 features of points; its batch norm can't be trained on a single point."""
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU())


def networks(seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Return two classifiers of points."""
    torch.manual_seed(seed)
    first, second = (nn.Sequential(backbone(), nn.Linear(8, N_CLASSES)) for _ in range(2))
    return first, second


def centrality_networks(seed: int = 0) -> tuple[CentralityNetwork, CentralityNetwork]:
    """Return two networks of CC."""
    torch.manual_seed(seed)
    first, second = (CentralityNetwork(backbone(), 8, N_CLASSES, 6) for _ in range(2))
    return first, second


def make_dividemix(data: TrainingSet | None = None, cls: type[DivideMix] = DivideMix, **options: Any) -> Any:
    """Return a small DivideMix with a warm-up of one epoch."""
    data = noisy_set() if data is None else data
    return cls(networks(), data, **{"warmup": 1, "batch_size": 16, **options})


def make_cc(data: TrainingSet | None = None, cls: type[CC] = CC, **options: Any) -> Any:
    """Return a small CC with a warm-up of one epoch."""
    data = noisy_set() if data is None else data
    return cls(centrality_networks(), data, **{"warmup": 1, "batch_size": 16, **options})


def rrms(n: int = N, **options: Any) -> tuple[RRM, RRM]:
    """Return two RRMs whose rounds start at the end of the method's warm-up."""
    first, second = (RRM(n, warmup=1, **options) for _ in range(2))
    return first, second


class Step(NamedTuple):
    """A training step of a method."""

    epoch: int
    k: int
    batch: Batch
    mixup: MixUp
    unlabelled_weight: float
    are_training: list[bool]
    """Whether each network is in training mode."""


class Recorder(CoDivision):
    """Keeps the training steps."""

    steps: list[Step]

    def _train_batch(self, k: int, batch: Batch, mixup: MixUp, unlabelled_weight: float) -> Tensor:
        if not hasattr(self, "steps"):
            self.steps = []
        modes = [model.training for model in self.models]
        self.steps.append(Step(self.epoch + 1, k, batch, mixup, unlabelled_weight, modes))
        return super()._train_batch(k, batch, mixup, unlabelled_weight)


class RecordingDivideMix(Recorder, DivideMix):
    """DivideMix that keeps its training steps."""


class RecordingCC(Recorder, CC):
    """CC that keeps its training steps."""


class ScriptedDivideMix(Recorder, DivideMix):
    """DivideMix whose scores of all samples are given for each epoch and network; the last ones hold from then on."""

    script: list[tuple[Scores, Scores]]

    def _score(self, k: int, epoch: int, index: Tensor) -> Scores:
        position = min(epoch - self._division.warmup, len(self.script)) - 1
        all_scores = self.script[position][k]
        return Scores(all_scores.losses[index], all_scores.clean_probability[index], all_scores.selected[index])


def script_dividemix(script: list[tuple[Scores, Scores]], data: TrainingSet | None = None, **options: Any) -> Any:
    """Return a `ScriptedDivideMix` for samples whose inputs are told apart by their values."""
    method = make_dividemix(data, ScriptedDivideMix, **options)
    method.script = script
    return method


def scores(losses: Tensor, selected: Tensor, probability: float | Tensor = 0.75) -> Scores:
    """Return the scores of a network that selects the samples in an index, each with this probability."""
    mask = torch.zeros(len(losses), dtype=torch.bool)
    mask[selected] = True
    clean = torch.where(mask, torch.as_tensor(probability), torch.tensor(0.1))
    return Scores(losses, clean, mask)


def digest_of(method: CoDivision) -> str:
    """Return a hash of the networks, and of the weights and rounds of the RRMs."""
    digest = hashlib.blake2b(digest_size=16)
    tensors = [tensor for model in method.models for tensor in model.state_dict().values()]
    for rrm in method.rrm or ():
        tensors.append(rrm.weights)
        digest.update(repr(rrm.trajectory.rounds).encode())
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def networks_digest(method: CoDivision) -> str:
    """Return a hash of the networks alone."""
    digest = hashlib.blake2b(digest_size=16)
    for model in method.models:
        for tensor in model.state_dict().values():
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


INDEX = torch.arange(N)
LOW = torch.arange(24)
HIGH = torch.arange(16, 48)
UP = INDEX.float()
DOWN = N - INDEX.float()
"""Two overlapping sets of samples, and losses that rise and fall with the index."""


def told_apart():
    """Return a training set whose inputs name their samples."""
    return TrainingSet(torch.stack([INDEX.float(), INDEX.float()], 1), INDEX % N_CLASSES, N_CLASSES)


def is_never_pruning(n=N):
    """Return RRMs that prune nothing."""
    return rrms(n, gamma=1e9)


def record_passes(monkeypatch):
    """Return a list to which each pass over samples in random order adds its indices and its batch size."""
    passes = []
    shuffled = TrainingSet.shuffled

    def shuffle(self, index, batch_size, draws):
        passes.append((index, batch_size))
        return shuffled(self, index, batch_size, draws)

    monkeypatch.setattr(TrainingSet, "shuffled", shuffle)
    return passes


def check_only_plan(rrm: RRM, samples: Tensor, contamination: float) -> None:
    """Assert that an RRM has planned once, over these samples and with this contamination."""
    [entry] = rrm.trajectory.rounds
    assert entry.n_planned == len(samples)
    assert entry.contamination == pytest.approx(contamination)
    assert entry.is_given
    assert (rrm.weights[~torch.isin(torch.arange(rrm.n), samples)] == 1).all()
