"""Searches for wrong labels by predictions."""

from __future__ import annotations

import numpy as np
import pytest

from rrm_torch.find.prediction_search import search_predictions
from rrm_torch.find.settings import SearchSettings
from support import planted_errors
from support.planted_errors import CLASSES


def flagged(result):
    return set(result.issues["index"][result.issues["is_label_issue"]].tolist())


def search_in_predictions(probabilities, labels, contamination="auto"):
    ids = np.arange(len(labels))
    return search_predictions(probabilities, labels, CLASSES, ids, SearchSettings(contamination))


def test_predictions_of_probability_zero():
    true, given, is_wrong = planted_errors.plant(300, 30)
    probabilities = np.eye(3)[true]
    result = search_in_predictions(probabilities, given)
    assert np.isfinite(result.issues["loss"]).all()
    assert flagged(result) == set(np.flatnonzero(is_wrong).tolist())
    assert result.contamination == pytest.approx(0.1)
    assert result.estimate.contamination == pytest.approx(0.1)
    assert result.pruned is None
    # Equal losses aren't told apart: fewer than all can't be flagged.
    assert not flagged(search_in_predictions(probabilities, given, 0.05))


def test_predictions_that_say_nothing():
    rng = np.random.default_rng(0)
    result = search_in_predictions(rng.dirichlet(np.ones(3), 300), np.arange(300) % 3)
    assert result.estimate.interval is None
    assert result.estimate.contamination == 0
    assert not flagged(result)


def test_predictions_that_agree_with_all_labels():
    labels = np.arange(300) % 3
    result = search_in_predictions(np.eye(3)[labels] * 0.97 + 0.01, labels)
    assert result.estimate.interval[0] == 0
    assert not flagged(result)
    assert result.issues["confidence"] == pytest.approx(0.98)


def test_nothing_is_flagged_where_the_interval_reaches_zero():
    labels = np.arange(300) % 3
    probabilities = np.eye(3)[labels] * 0.97 + 0.01
    labels[:2] = labels[1::-1]
    result = search_in_predictions(probabilities, labels)
    assert result.estimate.interval[0] == 0 < result.estimate.contamination
    assert not flagged(result)
    assert result.issues["id"][:2].tolist() == [0, 1]
