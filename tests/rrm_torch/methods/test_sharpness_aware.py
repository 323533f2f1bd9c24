from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.sharpness_aware import sharpness_aware_update

TARGET = torch.tensor([1.0, -2.0])


def parameters():
    return [torch.tensor([0.5, 1.0], requires_grad=True), torch.tensor(2.0, requires_grad=True)]


def function(a, b):
    return ((a - TARGET) ** 3).sum() + b**4 + (a * b).sum()


def test_step_follows_the_gradient_at_the_perturbed_weights():
    a, b = parameters()
    calls = []

    def loss(is_recorded):
        calls.append((is_recorded, a.detach().clone(), b.detach().clone()))
        return function(a, b)

    value = sharpness_aware_update(torch.optim.SGD([a, b], lr=0.01), loss, 0.3)
    assert_close(value, function(*parameters()).detach())
    first = torch.autograd.grad(function(*(start := parameters())), start)
    norm = torch.cat([gradient.flatten() for gradient in first]).norm()
    moved = [
        (value.detach() + 0.3 * gradient / norm).requires_grad_() for value, gradient in zip(start, first, strict=True)
    ]
    assert [recorded for recorded, _, _ in calls] == [True, False]
    assert_close([*calls[1][1:]], [value.detach() for value in moved])
    second = torch.autograd.grad(function(*moved), moved)
    for value, before, gradient in zip((a, b), start, second, strict=True):
        assert_close(value.detach(), before.detach() - 0.01 * gradient)


def test_rho_of_0_is_a_plain_step():
    a, b = parameters()
    calls = []

    def loss(is_recorded):
        calls.append(is_recorded)
        return function(a, b)

    sharpness_aware_update(torch.optim.SGD([a, b], lr=0.01), loss, 0.0)
    start = parameters()
    gradients = torch.autograd.grad(function(*start), start)
    assert calls == [True]
    for value, before, gradient in zip((a, b), start, gradients, strict=True):
        assert_close(value.detach(), before.detach() - 0.01 * gradient)


def test_parameters_without_a_gradient_stay_as_they_are():
    a, b = parameters()
    unused = torch.ones(3, requires_grad=True)
    sharpness_aware_update(torch.optim.SGD([a, unused], lr=0.01), lambda _: function(a, b), 0.1)
    assert torch.equal(unused, torch.ones(3))


def test_gradient_of_0_moves_nothing():
    a = torch.zeros(2, requires_grad=True)
    sharpness_aware_update(torch.optim.SGD([a], lr=0.01), lambda _: (a**2).sum(), 0.1)
    assert torch.equal(a, torch.zeros(2))


def test_weights_are_those_before_the_step_after_an_error():
    a, b = parameters()

    def loss(is_recorded):
        if not is_recorded:
            raise ValueError("no loss")
        return function(a, b)

    with pytest.raises(ValueError, match="no loss"):
        sharpness_aware_update(torch.optim.SGD([a, b], lr=0.01), loss, 0.3)
    for value, before in zip((a, b), parameters(), strict=True):
        assert torch.equal(value, before)
