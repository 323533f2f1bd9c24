"""Small images for ProMix, networks with two heads, and a record of the batches that a run trains on."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from rrm_torch.methods import promix
from rrm_torch.methods.promix import ProMix
from rrm_torch.methods.promix_loss import Batch, LossSettings, Mixing, Priors, Result
from rrm_torch.methods.promix_network import TwoHeadNetwork
from rrm_torch.methods.training_set import TrainingSet
from support.small_methods import N_CLASSES, N, jitter

SHAPE = (1, 4, 4)


def strong_jitter(x: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return images with more noise than `jitter` has: a strong augmentation."""
    return x + 0.5 * torch.randn(x.shape, generator=generator)


def noisy_images(n: int = N, share: float = 0.25) -> TrainingSet:
    """Return images of three classes; the first `share` of them have the label of another class."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % N_CLASSES
    patterns = 2 * torch.randn(N_CLASSES, *SHAPE, generator=generator)
    images = patterns[y] + torch.randn(n, *SHAPE, generator=generator)
    labels = torch.where(torch.arange(n) < share * n, (y + 1) % N_CLASSES, y)
    return TrainingSet(images, labels, N_CLASSES, weak=jitter, strong=strong_jitter)


def numbered_images(labels: Tensor) -> TrainingSet:
    """Return images whose pixels are a tenth of their index, without random augmentation."""
    images = torch.arange(len(labels)).float()[:, None, None, None].expand(-1, *SHAPE) / 10
    return TrainingSet(images, labels, N_CLASSES, strong=lambda x, generator: x)


def two_head_networks(seed: int = 0) -> tuple[TwoHeadNetwork, TwoHeadNetwork]:
    """Return two networks for such images; their batch norm can't be trained on a single one."""
    torch.manual_seed(seed)
    first, second = (
        TwoHeadNetwork(nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Tanh()), 8, N_CLASSES)
        for _ in range(2)
    )
    return first, second


def make_promix(data: TrainingSet | None = None, **options: Any) -> ProMix:
    """Return a small ProMix with a warm-up of one epoch."""
    data = noisy_images() if data is None else data
    defaults = {"warmup": 1, "batch_size": 16, "contamination": 0.6, "ramp": 4}
    return ProMix(two_head_networks(), data, **{**defaults, **options})


def script_promix(
    monkeypatch: pytest.MonkeyPatch, data: TrainingSet, chosen: list[Tensor], losses: list[Tensor], **options: Any
) -> ProMix:
    """Return a ProMix without a warm-up, whose networks have these losses and choose the samples of these indices."""
    method = make_promix(data, **options)
    masks = []
    for index in chosen:
        mask = torch.zeros(len(data), dtype=torch.bool)
        mask[index] = True
        masks.append(mask)
    monkeypatch.setattr(method, "losses_of", lambda k: losses[k])

    def choose(values: Tensor, *_: Any) -> Tensor:
        return masks[0] if values is losses[0] else masks[1]

    monkeypatch.setattr(promix, "class_wise_small_loss", choose)
    method.epoch = 1
    return method


class Step(NamedTuple):
    """The arguments of a step."""

    batch: Batch
    mixing: Mixing
    priors: Priors
    settings: LossSettings
    result: Result
    are_training: list[bool]


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Return a list to which each step is appended from now on."""
    steps: list[Step] = []
    original = promix.step

    def step(models: Any, batch: Batch, mixing: Mixing, priors: Priors, settings: LossSettings) -> Result:
        result = original(models, batch, mixing, priors, settings)
        steps.append(Step(batch, mixing, priors, settings, result, [model.training for model in models]))
        return result

    monkeypatch.setattr(promix, "step", step)
    return steps


def visited(step: Step) -> Tensor:
    """Return the samples of a batch of numbered images."""
    return (10 * step.batch.weak[:, 0, 0, 0]).round().long()


def digest_of(method: ProMix) -> str:
    """Return a hash of the networks and priors."""
    digest = hashlib.blake2b(digest_size=16)
    tensors = [tensor for model in method.models for tensor in model.state_dict().values()]
    for tensor in [*tensors, *method.state_dict()["tensors"].values()]:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
