"""The metrics of a listing, against cases computed by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from experiments.detection_metrics import Listing, average_precision, evaluate_listing, precision_at

WRONG = np.array([True, False, True, False, False])


def test_average_precision_is_the_mean_precision_at_the_wrong_labels():
    pytest.importorskip("sklearn")
    assert average_precision(np.array([9.0, 7.0, 8.0, 1.0, 2.0]), WRONG) == 1
    assert average_precision(np.array([9.0, 8.0, 7.0, 1.0, 2.0]), WRONG) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(np.array([1.0, 4.0, 2.0, 5.0, 3.0]), WRONG) == pytest.approx((2 / 5 + 1 / 4) / 2)


@pytest.mark.parametrize(
    ("scores", "count", "expected"),
    [
        ([9, 8, 7, 1, 2], 1, 1.0),
        ([9, 8, 7, 1, 2], 2, 0.5),
        ([9, 8, 7, 1, 2], 3, 2 / 3),
        ([9, 8, 7, 1, 2], 100, 2 / 5),
        ([9, 7, 7, 1, 2], 2, 3 / 4),  # a wrong label, then one of two tied ones, half of which are wrong
        ([1, 1, 1, 1, 1], 3, 2 / 5),
    ],
)
def test_precision_at_is_the_expectation_over_ties(scores, count, expected):
    assert precision_at(np.array(scores, float), WRONG, count) == pytest.approx(expected)


def test_evaluate_listing():
    pytest.importorskip("sklearn")
    listed = np.array([True, True, False, True, False])
    found = evaluate_listing(Listing(np.array([9.0, 8.0, 7.0, 1.0, 2.0]), listed), WRONG)
    assert found == pytest.approx(
        {
            "average_precision": (1 + 2 / 3) / 2,
            "precision_at_100": 2 / 5,
            "precision_at_true_number": 1 / 2,
            "n_listed": 3,
            "precision": 1 / 3,
            "recall": 1 / 2,
            "f1": 2 / 5,
        }
    )


def test_order_without_a_list_has_no_f1():
    pytest.importorskip("sklearn")
    found = evaluate_listing(Listing(np.arange(5.0)), WRONG)
    assert found["average_precision"] is not None
    assert [found[name] for name in ("n_listed", "precision", "recall", "f1")] == [None] * 4


def test_empty_list_has_no_precision():
    pytest.importorskip("sklearn")
    found = evaluate_listing(Listing(np.arange(5.0), np.zeros(5, bool)), WRONG)
    assert (found["n_listed"], found["precision"], found["recall"], found["f1"]) == (0, None, 0, 0)


def test_without_wrong_labels_only_their_number_is_defined():
    found = evaluate_listing(Listing(np.arange(5.0), np.arange(5) < 2), np.zeros(5, bool))
    assert found.pop("n_listed") == 2
    assert set(found.values()) == {None}


def test_other_shape_is_rejected():
    with pytest.raises(ValueError, match=r"one score for each of 5 labels, got shape \(4,\)"):
        evaluate_listing(Listing(np.arange(4.0)), WRONG)


def test_average_precision_without_scikit_learn_raises_with_remedy(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ValueError, match=r"no module sklearn.*; pip install scikit-learn"):
        average_precision(np.arange(5.0), WRONG)
