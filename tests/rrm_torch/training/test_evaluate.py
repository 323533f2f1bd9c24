from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rrm_torch import batches, evaluate

N = 40
K = 3


def test_evaluate_returns_accuracy():
    y = torch.arange(N) % K
    model = nn.Identity()
    logits = nn.functional.one_hot(y, K).float()
    logits[:10] = logits[:10].roll(1, dims=1)
    assert evaluate(model, batches(logits, y, 7, shuffle=False)) == 0.75
    assert evaluate(model, DataLoader(TensorDataset(logits, y), batch_size=7)) == 0.75  # a test set has no index
