"""How often predictions agree with given labels."""

from __future__ import annotations

import numpy as np
import pytest

from rrm_core._agreement import UNKNOWN, Window, count_agreement


def test_counts_are_those_of_samples_with_labels_and_predictions():
    labels = np.array([0, 1, 1, UNKNOWN, 2, 2])
    predicted = np.array([0, 1, 0, 0, UNKNOWN, 2])
    entry = count_agreement(labels, predicted, np.array([True, True, True, True, True, False]))
    assert (entry.n_held_out, entry.n_held_out_agreed) == (3, 2)
    assert (entry.n_trained, entry.n_trained_agreed) == (1, 1)
    # Predictions 0, 1, 0 and labels 0, 1, 1: twice 1 and once 2.
    assert entry.n_pairs_agreed == 4


def test_kappa_is_the_share_beyond_chance_of_the_largest_possible_one():
    labels = np.array([0, 0, 0, 1, 1])
    predicted = np.array([0, 0, 1, 1, 1])
    window = Window([count_agreement(labels, predicted, np.ones(5, bool))])
    # 4 of 5 agree, and 2/5 * 3/5 + 3/5 * 2/5 by chance.
    assert window.kappa == pytest.approx((0.8 - 0.48) / (1 - 0.48))


def test_kappa_of_one_class_is_0():
    classes = np.zeros(10, int)
    window = Window([count_agreement(classes, classes, np.ones(10, bool))])
    assert window.kappa == 0
    assert not window.shows_learning(0.04)
