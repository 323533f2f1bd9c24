from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from rrm_torch.methods.weight_average import averaged_copy, update_average


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def test_average_is_the_weighted_sum_of_all_parameters():
    model = network(0)
    average = averaged_copy(model)
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    for seed, decay in enumerate((0.9, 0.5, 0.0), 1):
        model.load_state_dict(network(seed).state_dict())
        update_average(average, model, decay)
        expected = [
            decay * mean + (1 - decay) * parameter for mean, parameter in zip(expected, model.parameters(), strict=True)
        ]
        for mean, value in zip(average.parameters(), expected, strict=True):
            assert_close(mean, value)
            assert not mean.requires_grad


def test_buffers_of_an_average_are_its_own():
    model = network(0)
    average = averaged_copy(model)
    average(torch.randn(5, 3))
    own = average[1].running_mean.clone()
    model(torch.randn(7, 3) + 10)
    update_average(average, model, 0.5)
    assert torch.equal(average[1].running_mean, own)
    assert not torch.equal(model[1].running_mean, own)
    assert average[1].num_batches_tracked == 1
