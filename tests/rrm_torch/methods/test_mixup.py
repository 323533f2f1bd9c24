from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.draws import Draws
from rrm_torch.methods.mixup import MixUp


def test_each_sample_is_mixed_with_its_partner():
    mixup = MixUp(0.7, torch.tensor([2, 0, 1]))
    assert_close(mixup(torch.tensor([1.0, 10.0, 100.0])), torch.tensor([30.7, 7.3, 73.0]))


def test_values_of_any_shape_are_mixed():
    values = torch.arange(12.0).reshape(2, 3, 2)
    assert_close(MixUp(0.5, torch.tensor([1, 0]))(values), values.mean(0).expand(2, 3, 2))


@pytest.mark.parametrize("alpha", [0.5, 4.0])
def test_the_larger_part_is_the_sample_itself(alpha):
    shares = [MixUp.draw(4, alpha, Draws(i)).share for i in range(50)]
    assert min(shares) >= 0.5
    free = [MixUp.draw(4, alpha, Draws(i), keeps_order=False).share for i in range(50)]
    assert min(free) < 0.5
    assert shares == [max(share, 1 - share) for share in free]


def test_partners_are_a_permutation():
    mixup = MixUp.draw(9, 4.0, Draws(0))
    assert mixup.partner.sort().values.tolist() == list(range(9))
