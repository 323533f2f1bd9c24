"""Losses, and loops over them, for tests of `rrm_torch.weighting`."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.testing import assert_close

LOSSES = torch.tensor([0.1, 0.3, 0.2, 4.0, 0.4, 0.5, 3.0, 2.0, 0.7, 0.6])
FIVE = LOSSES[:5].clone()
N = len(LOSSES)
INDEX = torch.arange(N)


def assert_identical(a, b):
    """Assert that two tensors are equal bit for bit, NaN included."""
    assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def one_epoch(rrm, losses=FIVE, order=(4, 2, 0, 1, 3), batch_size=2):
    """Pass each sample once to `weighted_mean`, in batches, and end the epoch."""
    order = torch.tensor(order)
    for index in order.split(batch_size):
        rrm.weighted_mean(losses[index], index)
    return rrm.step()


def epoch_of_steps(rrm, losses, batch_size=5):
    """Take a step after each batch of an epoch; return for each whether it reweighted."""
    reweighted = []
    for index in INDEX.split(batch_size):
        rrm.weighted_mean(losses[index], index)
        reweighted.append(rrm.step() is not None)
    return reweighted


def set_epoch(rrm, epoch):
    """Let an RRM believe that so many epochs have ended."""
    rrm._state = replace(rrm._state, epoch=epoch)
