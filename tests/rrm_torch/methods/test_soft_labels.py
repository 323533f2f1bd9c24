from __future__ import annotations

import math

import torch
from torch.testing import assert_close

from rrm_torch.methods.soft_labels import (
    mean_prediction,
    negative_entropy,
    one_hot,
    sharpen,
    soft_cross_entropy,
    uniform_divergence,
)

PROBABILITIES = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])


def test_one_hot_has_all_classes_and_is_float32():
    assert_close(one_hot(torch.tensor([1, 0]), 3), torch.tensor([[0.0, 1, 0], [1, 0, 0]]))


def test_sharpening_at_one_half_squares_and_normalises():
    squares = PROBABILITIES**2
    assert_close(sharpen(PROBABILITIES, 0.5), squares / squares.sum(1, keepdim=True))


def test_sharpening_at_a_low_temperature_leaves_the_largest():
    sharp = sharpen(torch.tensor([[0.3, 0.4, 0.3], [0.4, 0.4, 0.2]]), 1e-3)
    assert_close(sharp, torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]))


def test_sharpening_at_1_changes_nothing():
    assert_close(sharpen(PROBABILITIES, 1.0), PROBABILITIES)


def test_soft_cross_entropy_of_a_class_is_cross_entropy():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 2, 1, 2])
    expected = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    assert_close(soft_cross_entropy(logits, one_hot(y, 3)), expected)


def test_soft_cross_entropy_is_linear_in_its_target():
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([0.0, 1.5])
    expected = weights * soft_cross_entropy(logits, PROBABILITIES)
    assert_close(soft_cross_entropy(logits, weights[:, None] * PROBABILITIES), expected)


def test_uniform_divergence_is_that_of_the_mean_prediction():
    # Each row is confident, and their mean is uniform.
    assert_close(uniform_divergence(20 * torch.eye(3)), torch.tensor(0.0), atol=1e-6, rtol=0)
    logits = PROBABILITIES[:1].log()
    expected = sum(math.log(1 / 3 / p) / 3 for p in (0.6, 0.3, 0.1))
    assert_close(uniform_divergence(logits), torch.tensor(expected))


def test_uniform_divergence_is_finite_where_a_class_is_never_predicted():
    logits = torch.tensor([[0.0, 300.0], [0.0, 200.0]], requires_grad=True)
    divergence = uniform_divergence(logits)
    divergence.backward()
    assert divergence > 90
    assert logits.grad.isfinite().all()


def test_negative_entropy_is_lowest_for_uniform_predictions():
    assert_close(negative_entropy(torch.zeros(2, 4)), torch.tensor(-math.log(4)))
    assert_close(negative_entropy(200 * torch.eye(4)), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_mean_prediction_averages_probabilities_not_logits():
    first = torch.tensor([[4.0, 0.0]])
    second = torch.tensor([[0.0, 0.0]])
    expected = (first.softmax(1) + second.softmax(1)) / 2
    assert_close(mean_prediction([first, second]), expected)
