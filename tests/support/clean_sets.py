"""Small training sets with wrong labels and clean sets beside them, and the methods that use both."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from rrm_torch.methods.learning_to_reweight import LearningToReweight
from rrm_torch.methods.meta_weight_net import MetaWeightNet
from rrm_torch.methods.training_set import TrainingSet
from rrm_torch.methods.virtual_step import CleanBatch

from .fixture_networks import fill, filled, small_network

RECORDED = Path(__file__).parents[1] / "rrm_torch" / "methods" / "fixtures" / "meta_weight_net.json"
N = 48
N_CLEAN = 12
METHODS = {"Meta-Weight-Net": MetaWeightNet, "learning to reweight": LearningToReweight}


def recorded_numbers():
    """Return what one step of the originals computes."""
    return json.loads(RECORDED.read_text())


def recorded_batch():
    """Return the batch of the recorded step."""
    y = torch.tensor([0, 3, 1, 4])
    clean_y = torch.tensor([2, 3, 0, 1])
    return CleanBatch(fill((4, 3, 8, 8), 0), y, fill((4, 3, 8, 8), 1), clean_y)


def recorded_model():
    """Return the network of the recorded step, in training mode."""
    return filled(small_network(), 10, shifted=1).train()


def recorded_weight_net():
    """Return the weight net of the recorded step."""
    return filled(nn.Sequential(nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid()), 50, shifted=None)


def double_batch(batch):
    """Return a batch with inputs in float64."""
    return batch._replace(x=batch.x.double(), clean_x=batch.clean_x.double())


def clean_loss_by_hand(model, batch, coefficients, rate):
    """Return the clean loss after a step of an optimizer on a copy of a model."""
    stepped = copy.deepcopy(model)
    optimizer = torch.optim.SGD(stepped.parameters(), lr=rate)
    losses = F.cross_entropy(stepped(batch.x), batch.y, reduction="none")
    (coefficients * losses).sum().backward()
    optimizer.step()
    return float(F.cross_entropy(stepped(batch.clean_x), batch.clean_y).detach())


def clusters(n, share_wrong=0.0, seed=0):
    """Return a training set of three clusters in four dimensions, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    true = np.arange(n) % 3
    x = np.eye(3, 4)[true] * 3 + rng.standard_normal((n, 4))
    wrong = rng.permutation(n) < share_wrong * n
    labels = np.where(wrong, (true + 1) % 3, true)
    return TrainingSet(torch.from_numpy(x).float(), torch.from_numpy(labels), 3), torch.from_numpy(wrong)


def network(seed=0):
    """Return a network for the clusters, with batch norm and dropout."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def make(kind, model=None, data=None, clean=None, **options):
    """Return a method of `METHODS` with defaults of a small size."""
    return METHODS[kind](
        network() if model is None else model,
        clusters(N, 0.4)[0] if data is None else data,
        clusters(N_CLEAN, seed=1)[0] if clean is None else clean,
        **{"batch_size": 12, "clean_batch_size": 5, **options},
    )
