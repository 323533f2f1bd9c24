from __future__ import annotations

import pytest
import torch

from rrm_torch.methods.draws import Draws


def numbers(*key):
    draws = Draws(*key)
    return draws.permutation(20).tolist(), draws.beta(4.0), torch.rand(3, generator=draws.generator).tolist()


def test_draws_of_equal_keys_are_equal():
    assert numbers(1, 2, 0) == numbers(1, 2, 0)


@pytest.mark.parametrize("key", [(2, 2, 0), (1, 3, 0), (1, 2, 1), (1, 2, 0, 1)])
def test_each_number_of_a_key_matters(key):
    other = numbers(*key)
    assert all(value != different for value, different in zip(numbers(1, 2, 0), other, strict=True))


def test_zeros_at_the_end_of_a_key_make_no_difference():
    assert numbers(1, 2) == numbers(1, 2, 0)


def test_draws_leave_the_global_generators_alone():
    before = torch.get_rng_state()
    numbers(0)
    assert torch.equal(before, torch.get_rng_state())


def test_permutation_names_each_index_once():
    assert Draws(0).permutation(10).sort().values.tolist() == list(range(10))
