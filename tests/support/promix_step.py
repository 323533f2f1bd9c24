"""The step of ProMix whose numbers are recorded: networks, batch, priors and draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rrm_torch.methods.fmix import FMixMask
from rrm_torch.methods.promix_loss import Batch, Mixing, Priors
from rrm_torch.methods.promix_network import TwoHeadNetwork
from rrm_torch.methods.promix_settings import ProMixSettings
from rrm_torch.methods.soft_labels import one_hot
from support.fixture_networks import N_CHANNELS, N_CLASSES, SmallBackbone, fill, filled

SIZE = 8
LABELS = torch.arange(SIZE) % N_CLASSES
CHOSEN = torch.tensor([[1, 0, 1, 1, 0, 0, 1, 0], [0, 1, 1, 0, 1, 0, 0, 1]]).bool()

Networks = tuple[TwoHeadNetwork, TwoHeadNetwork]


def step_networks() -> Networks:
    """Return the two networks, in training mode."""
    first, second = (filled(TwoHeadNetwork(SmallBackbone(), N_CHANNELS, N_CLASSES), s).train() for s in (40, 60))
    return first, second


def step_batch(
    labels: Tensor = LABELS, chosen: Tensor = CHOSEN, weights: Tensor | None = None, **options: Any
) -> Batch:
    """Return the batch."""
    shape = (SIZE, 3, 8, 8)
    return Batch(fill(shape, 4), fill(shape, 5), one_hot(labels, N_CLASSES), chosen, weights, **options)


def step_priors() -> Priors:
    """Return the priors before the batch."""
    priors = torch.stack([fill(N_CLASSES, 30 + i) + 2 for i in range(4)])
    priors = priors / priors.sum(1, keepdim=True)
    return Priors(priors[:2], priors[2:])


def step_mixing() -> Mixing:
    """Return the draws: in MixUp the partner is the sample before, in FMix the one before that."""
    return Mixing(0.7, FMixMask((fill((1, 8, 8), 6) > 0).float(), 0.4), alternating_rolls())


def alternating_rolls() -> Callable[[int], Tensor]:
    """Return a function of m that returns the indices below m, rolled by 1 and by 2 in turn."""
    n_calls = 0

    def roll(m: int) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        return torch.arange(m).roll(1 if n_calls % 2 else 2)

    return roll


def published_settings(**changes: Any) -> ProMixSettings:
    """Return the published settings, with the low confidence of the recorded numbers."""
    settings: dict[str, Any] = {
        "contamination": None,
        "on_pruned": "drop",
        "warmup": 10,
        "batch_size": 256,
        "share": 0.5,
        "final_share": 0.5,
        "quota": "balanced",
        "confidence": 0.3,
        "agreement_confidence": 0.9,
        "debiasing": 0.8,
        "ramp": 50,
        "pseudo_weight": 0.1,
        "pseudo_epochs": 100,
        "agreement_epoch": 350,
        "confidence_penalty": 0.0,
    }
    return ProMixSettings(**{**settings, **changes})


def gradient_of(networks: Networks) -> Tensor:
    """Return the gradient of all parameters, concatenated; 0 where a parameter has none."""
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters])
