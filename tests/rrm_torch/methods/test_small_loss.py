from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rrm_torch import methods

N = 20
LOSSES = torch.linspace(0.1, 2.0, N)
INDEX = torch.arange(N)


def test_trimmed_keeps_the_smallest_losses():
    rrm = methods.trimmed(N, 0.25, warmup=1)
    rrm.step(LOSSES)
    assert_close(rrm.weights, (INDEX < 15).float())
    rrm.step(LOSSES.flip(0))  # chosen again
    assert_close(rrm.weights, (INDEX >= 5).float())


def test_self_paced_needs_a_number_of_epochs_as_warm_up():
    with pytest.raises(TypeError, match=r"warmup must be a number of epochs, .*, got 'auto'"):
        methods.self_paced(N, 0.1, warmup="auto")


def test_self_paced_prunes_fewer_samples_over_time():
    rrm = methods.self_paced(N, 0.1, first=0.5, over=4, warmup=2)
    assert rrm.step(LOSSES) is None
    assert [rrm.step(LOSSES).n_pruned for _ in range(6)] == [10, 8, 6, 4, 2, 2]
    assert rrm.weights.max() == 1


def test_co_teaching_selects_by_losses_of_the_other_network():
    first, second = (methods.co_teaching(4, 0.5, over=2) for _ in range(2))
    index = torch.arange(4)
    a, b = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([4.0, 1.0, 2.0, 3.0])
    for _ in range(4):
        losses = [
            first.weighted_mean(a, index, ranking=b),
            second.weighted_mean(b, index, ranking=a),
        ]
        for rrm in (first, second):
            rrm.step()
    assert_close(losses[0], a[[1, 2]].mean())  # the two that b finds easiest
    assert_close(losses[1], b[[0, 1]].mean())


def test_co_teaching_prunes_more_samples_over_time():
    rrm = methods.co_teaching(N, 0.2, over=4)
    dropped = []
    for _ in range(6):
        rrm.weighted_mean(LOSSES, INDEX)
        dropped.append(int((rrm.weights == 0).sum()))
        rrm.step()
    assert dropped == [0, 1, 2, 3, 4, 4]


def test_options_reach_rrm():
    assert methods.trimmed(N, 0.25, redistribute="kept", every=3).settings.every == 3
    assert methods.self_paced(N, 0.25, unit="step").unit == "step"
    assert methods.co_teaching(N, 0.25, warmup=7).settings.warmup == 7
