from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from rrm_torch.methods.centrality import above_otsu, central_probability, centrality, discrepancy
from rrm_torch.methods.selection import MixtureSettings


def directions(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], 1)


def test_centres_are_those_of_the_predicted_classes():
    features = directions(0.0, 20.0, 90.0, 110.0)
    predictions = torch.tensor([0, 0, 1, 1])
    labels = torch.tensor([0, 1, 1, 0])
    cosines = centrality(features, labels, predictions, 2)
    centres = torch.tensor([10.0, 100.0, 100.0, 10.0])
    angles = torch.tensor([0.0, 20.0, 90.0, 110.0]) - centres
    assert_close(cosines, torch.deg2rad(angles).cos())


def test_lengths_of_features_do_not_matter():
    features = directions(0.0, 20.0, 90.0, 110.0)
    labels = torch.tensor([0, 0, 1, 1])
    scaled = features * torch.tensor([[1.0], [50.0], [0.1], [7.0]])
    assert_close(centrality(scaled, labels, labels, 2), centrality(features, labels, labels, 2))


def test_centre_of_a_class_that_is_never_predicted_is_that_of_its_labels():
    features = directions(0.0, 20.0, 90.0, 110.0)
    labels = torch.tensor([0, 0, 1, 1])
    cosines = centrality(features, labels, torch.zeros(4, dtype=torch.int64), 2)
    assert_close(cosines[2:], torch.deg2rad(torch.tensor([10.0, 10.0])).cos())


def test_classes_without_samples_leave_the_cosines_of_others():
    features = directions(0.0, 20.0)
    labels = torch.tensor([1, 1])
    assert_close(centrality(features, labels, labels, 5), torch.deg2rad(torch.tensor([10.0, 10.0])).cos())


def test_features_of_length_0_have_a_finite_cosine():
    labels = torch.tensor([0, 1, 1])
    assert torch.equal(centrality(torch.zeros(3, 4), labels, labels, 2), torch.zeros(3))


def test_probability_is_that_of_the_higher_component():
    generator = torch.Generator().manual_seed(0)
    cosines = torch.cat([0.9 - 0.05 * torch.rand(60, generator=generator), 0.2 * torch.rand(40, generator=generator)])
    labels = torch.arange(100) % 2
    for by_class in (False, True):
        probability = central_probability(cosines, labels, MixtureSettings(by_class=by_class))
        assert probability[:60].min() > 0.9
        assert probability[60:].max() < 0.1


def test_otsu_divides_each_class_by_its_own_threshold():
    cosines = torch.tensor([0.9, 0.8, 0.1, 0.5, 0.45, -0.5, 0.7])
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 3])
    selected = above_otsu(cosines, labels, 4)
    # A class of one sample is selected, and a class without any is no error.
    assert selected.tolist() == [True, True, False, True, True, False, True]


@pytest.mark.parametrize(("second", "expected"), [([50.0, 0.0], 0.0), ([0.0, 50.0], 2.0), ([0.0, 0.0], 1.0)])
def test_discrepancy_is_the_sum_of_absolute_differences(second, expected):
    assert_close(discrepancy(torch.tensor([[50.0, 0.0]]), torch.tensor([second])), torch.tensor([expected]))
