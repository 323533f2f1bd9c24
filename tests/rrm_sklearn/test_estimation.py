"""The estimate of the share of wrong labels from out-of-fold probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import rrm_core
from rrm_core._out_of_fold import estimate_wrong_share, share_to_prune
from rrm_sklearn.estimation import combine, transition_matrix


def probabilities_of(predicted, n_classes=3):
    return np.eye(n_classes)[predicted] * 0.8 + 0.1


def test_estimate_is_that_of_predictions_that_are_all_held_out():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 3000)
    labels = np.where(rng.random(3000) < 0.2, (true + 1) % 3, true)
    probabilities = rng.dirichlet([1, 1, 1], 3000) / 2 + probabilities_of(true) / 2
    estimate = estimate_wrong_share(labels, probabilities)
    expected = rrm_core.estimate_contamination(
        labels, probabilities.argmax(1), probabilities.max(1), np.ones(3000, bool)
    )
    assert estimate.contamination == expected.contamination == pytest.approx(0.2, abs=0.05)
    assert estimate.n_held_out == 3000


def test_estimate_of_constant_predictions_is_0():
    labels = np.repeat([0, 1, 2], [800, 100, 100])
    assert estimate_wrong_share(labels, probabilities_of(np.zeros(1000, int))).interval is None
    assert estimate_wrong_share(labels, probabilities_of(labels)).interval is not None


def test_few_predictions_must_agree_beyond_two_standard_errors():
    labels = np.array([0, 1, 0, 1, 0, 1])
    probabilities = probabilities_of(np.array([0, 1, 0, 1, 1, 0]), 2)
    assert estimate_wrong_share(labels, probabilities).interval is None
    assert estimate_wrong_share(np.tile(labels, 20), np.tile(probabilities, (20, 1))).interval is not None


def test_predictions_that_agree_a_little_beyond_chance_have_learnt():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 20_000)
    for share, has_learnt in ((0.51, False), (0.54, True)):
        predicted = np.where(rng.random(20_000) < share, labels, 1 - labels)
        assert (estimate_wrong_share(labels, probabilities_of(predicted, 2)).interval is not None) == has_learnt


def test_estimate_of_models_that_learnt_nothing_is_0():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    estimate = estimate_wrong_share(labels, rng.dirichlet([1, 1, 1], 500))
    assert estimate.contamination == 0
    assert estimate.interval is None


@pytest.mark.parametrize(
    ("interval", "expected"), [((0.05, 0.2), 0.1), ((0.0, 0.2), 0.0), (None, 0.0)], ids=["above 0", "reaches 0", "none"]
)
def test_share_whose_interval_reaches_0_prunes_nothing(interval, expected):
    labels = np.arange(200) % 2
    estimate = estimate_wrong_share(labels, probabilities_of(labels, 2))
    assert share_to_prune(replace(estimate, contamination=0.1, interval=interval)) == expected


def test_combined_estimate_is_the_mean_share_in_a_widened_interval():
    labels = np.arange(200) % 2
    first = replace(estimate_wrong_share(labels, probabilities_of(labels, 2)), contamination=0.2, interval=(0.1, 0.3))
    combined = combine([first, replace(first, contamination=0.0), replace(first, contamination=0.04)])
    assert combined.contamination == pytest.approx(0.08)
    assert combined.interval == (combined.contamination, 0.3)
    assert combine([first]) is first


def test_transition_matrix_has_the_given_labels_by_true_class():
    given = np.array([0, 0, 0, 1, 1, 0])
    true = np.array([0, 0, 0, 1, 1, 1])
    estimate = estimate_wrong_share(given, probabilities_of(true, 2))
    matrix = transition_matrix(estimate, 2)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix.min() > 0
    # Predictions that tie are all taken: 3 of class 0, and 3 of class 1 of which one is given as 0.
    np.testing.assert_allclose(matrix, [[3.5 / 4, 0.5 / 4], [1.5 / 4, 2.5 / 4]])
