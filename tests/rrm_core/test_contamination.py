"""`estimate_contamination`, against a slow and plain definition and cases worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

import rrm_core
from rrm_core.definition.contradictions import RankedPredictions


def contradicted(labels, predicted, confidence, divisor):
    """D(1 / divisor) by its definition, in exact arithmetic: ties count by their mean over all orders."""
    total = Fraction(0)
    for k in sorted(set(predicted)):
        members = [i for i in range(len(labels)) if predicted[i] == k]
        n_taken = math.ceil(Fraction(len(members), divisor))
        # The last confidence taken, in descending order.
        last = sorted((confidence[i] for i in members), reverse=True)[n_taken - 1]
        above = [labels[i] != k for i in members if confidence[i] > last]
        tied = [labels[i] != k for i in members if confidence[i] == last]
        n_wrong = sum(above) + Fraction(sum(tied), len(tied)) * (n_taken - len(above))
        total += Fraction(len(members), len(labels)) * n_wrong / n_taken
    return float(total)


def draw(rng, n, n_classes, *, n_levels=None):
    """Return random labels, predictions and confidences, with ties if there are few levels."""
    labels = rng.integers(0, n_classes, n)
    predicted = np.where(rng.random(n) < 0.6, labels, rng.integers(0, n_classes, n))
    confidence = rng.random(n)
    if n_levels is not None:
        confidence = np.ceil(confidence * n_levels) / n_levels
    return labels, predicted, confidence


@pytest.mark.parametrize("n_levels", [None, 1, 3, 10])
@pytest.mark.parametrize("n_classes", [1, 2, 7])
def test_share_contradicted_is_that_of_the_plain_definition(n_classes, n_levels):
    rng = np.random.default_rng(n_classes)
    for n in (1, 2, 3, 10, 57, 400):
        labels, predicted, confidence = draw(rng, n, n_classes, n_levels=n_levels)
        ranked = RankedPredictions(labels != predicted, predicted, confidence)
        for divisor in (1, 2, 4, 10):
            expected = contradicted(labels.tolist(), predicted.tolist(), confidence.tolist(), divisor)
            assert ranked.contradicted(divisor) == pytest.approx(expected, abs=1e-15)


def test_share_contradicted_within_groups_is_that_of_each_group_alone():
    rng = np.random.default_rng(0)
    labels, predicted, confidence = draw(rng, 300, 4, n_levels=5)
    groups = rng.integers(0, 5, 300)
    groups[groups == 3] = 4
    ranked = RankedPredictions(labels != predicted, predicted, confidence, groups)
    shares = ranked.contradicted_by_group(2, 6)
    for g in (0, 1, 2, 4):
        own = groups == g
        alone = RankedPredictions((labels != predicted)[own], predicted[own], confidence[own])
        assert shares[g] == alone.contradicted(2)
    assert shares[3] == shares[5] == 0


def test_groups_of_one_label_are_compared_with_the_others():
    # The surer half of each predicted class are samples 0, 1 and 4, of which 1 is contradicted.
    labels = [0, 1, 0, 0, 1, 0]
    predicted = [0, 0, 0, 0, 1, 1]
    confidence = [0.9, 0.8, 0.7, 0.6, 0.9, 0.5]
    by_label = rrm_core.estimate_contamination(labels, predicted, confidence, [True] * 6, groups=labels)
    assert by_label.by_group == (0, 0.5)
    assert by_label.by_group == tuple(by_label.by_class())


def test_group_of_one_label_is_found_beside_groups_of_several():
    rng = np.random.default_rng(6)
    labels, predicted, confidence = draw(rng, 900, 3)
    own = rrm_core.estimate_contamination(labels, predicted, confidence, labels == 0, groups=labels)
    # One label of class 0 in a hundred moves to a fourth group, which has labels of several classes.
    groups = labels.copy()
    groups[rng.random(900) < 0.01] = 3
    mixed = rrm_core.estimate_contamination(labels, predicted, confidence, labels == 0, groups=groups)
    np.testing.assert_allclose(mixed.by_group[:3], own.by_group, atol=0.02)


def test_groups_of_several_labels_have_the_share_within_them():
    rng = np.random.default_rng(5)
    labels, predicted, confidence = draw(rng, 500, 3)
    groups = rng.integers(0, 4, 500)
    estimate = rrm_core.estimate_contamination(labels, predicted, confidence, groups == 0, groups=groups)
    for g in range(4):
        own = groups == g
        parts = (values[own].tolist() for values in (labels, predicted, confidence))
        assert estimate.by_group[g] == pytest.approx(contradicted(*parts, 2))


def test_hand_made_case():
    # Class 0 takes the surest 2 of 4, one of them wrong; class 1 the surest of 2, which is right.
    labels = [0, 1, 0, 0, 1, 0]
    predicted = [0, 0, 0, 0, 1, 1]
    confidence = [0.9, 0.8, 0.7, 0.6, 0.9, 0.5]
    ranked = RankedPredictions(np.not_equal(labels, predicted), np.array(predicted), np.array(confidence))
    assert ranked.contradicted(2) == pytest.approx((4 / 6) * 0.5)
    assert sorted(ranked.most_confident(2)) == [0, 1, 4]


def test_ties_count_as_in_the_mean_over_all_orders():
    is_wrong = np.array([True, False, False])
    predicted = np.zeros(3, int)
    tied = np.array([0.5, 0.5, 0.5])
    by_order = [
        RankedPredictions(is_wrong[list(order)], predicted, np.array([0.3, 0.2, 0.1])).contradicted(2)
        for order in permutations(range(3))
    ]
    assert RankedPredictions(is_wrong, predicted, tied).contradicted(2) == pytest.approx(np.mean(by_order))


def test_estimate_does_not_depend_on_the_order_of_the_samples():
    rng = np.random.default_rng(1)
    labels, predicted, confidence = draw(rng, 3000, 6, n_levels=20)
    held_out = rng.random(3000) < 0.15
    groups = rng.integers(0, 3, 3000)
    first = rrm_core.estimate_contamination(labels, predicted, confidence, held_out, groups=groups)
    order = rng.permutation(3000)
    parts = (labels[order], predicted[order], confidence[order], held_out[order])
    second = rrm_core.estimate_contamination(*parts, groups=groups[order])
    assert (first.contamination, first.interval, first.by_group) == (
        second.contamination,
        second.interval,
        second.by_group,
    )
    np.testing.assert_array_equal(first.pairs, second.pairs)


@pytest.mark.parametrize(("n", "divisor"), [(1999, 2), (2000, 4)])
def test_estimate_is_the_mean_of_two_shares(n, divisor):
    rng = np.random.default_rng(2)
    labels, predicted, confidence = draw(rng, n, 3)
    held_out = rng.random(n) < 0.15
    estimate = rrm_core.estimate_contamination(labels, predicted, confidence, held_out)
    own = [values[held_out].tolist() for values in (labels, predicted, confidence)]
    everyone = contradicted(labels.tolist(), predicted.tolist(), confidence.tolist(), 2)
    assert estimate.contamination == pytest.approx((everyone + contradicted(*own, divisor)) / 2)
    assert (estimate.n, estimate.n_held_out) == (n, held_out.sum())


def wilson(share, n, sign):
    """The bounds as the roots of (share - p)**2 = 4 p (1 - p) / n, two standard errors away."""
    roots = np.roots([1 + 4 / n, -(2 * share + 4 / n), share**2])
    return sorted(roots)[0 if sign < 0 else 1]


def test_interval_reaches_from_the_surest_tenth_to_half_of_those_held_out():
    rng = np.random.default_rng(3)
    labels, predicted, confidence = draw(rng, 4000, 3)
    held_out = rng.random(4000) < 0.15
    lower, upper = rrm_core.estimate_contamination(labels, predicted, confidence, held_out).interval
    tenth = contradicted(labels.tolist(), predicted.tolist(), confidence.tolist(), 10)
    half = contradicted(*(values[held_out].tolist() for values in (labels, predicted, confidence)), 2)
    assert lower == pytest.approx(wilson(tenth, 400, -1))
    assert upper == pytest.approx(wilson(half, held_out.sum() / 2, 1))


def test_interval_of_no_contradiction_still_has_a_width():
    labels = np.arange(200) % 5
    estimate = rrm_core.estimate_contamination(labels, labels, np.ones(200), np.arange(200) % 7 == 0)
    n_held_out = 29
    assert estimate.interval == (0, pytest.approx(4 / (n_held_out / 2 + 4)))


def test_model_that_still_learns_has_no_interval():
    rng = np.random.default_rng(4)
    labels, predicted, confidence = draw(rng, 4000, 3)
    held_out = rng.random(4000) < 0.15
    estimate = rrm_core.estimate_contamination(labels, predicted, confidence, held_out, is_rising=True)
    assert estimate.interval is None
    assert "still learning" in estimate.basis
    own = (values[held_out].tolist() for values in (labels, predicted, confidence))
    everyone = contradicted(labels.tolist(), predicted.tolist(), confidence.tolist(), 10)
    assert estimate.contamination == pytest.approx((everyone + contradicted(*own, 10)) / 2)


def test_correct_labels_give_zero():
    labels = np.arange(4000) % 5
    held_out = np.arange(4000) % 7 == 0
    estimate = rrm_core.estimate_contamination(labels, labels, np.ones(4000), held_out)
    assert estimate.contamination == 0
    assert estimate.interval == (0, pytest.approx(4 / (572 / 2 + 4)))
    assert estimate.by_class().tolist() == [0] * 5


def test_contamination_stays_below_one():
    labels = np.zeros(10, int)
    estimate = rrm_core.estimate_contamination(labels, labels + 1, np.ones(10), labels == 0, groups=labels)
    assert estimate.contamination < 1
    assert estimate.by_group[0] < 1
    rrm_core.Rule(estimate.contamination)


def test_confident_joint_counts_given_and_predicted_classes():
    labels = [0, 1, 0, 0, 1, 0]
    predicted = [0, 0, 0, 0, 1, 1]
    confidence = [0.9, 0.8, 0.7, 0.6, 0.9, 0.5]
    estimate = rrm_core.estimate_contamination(labels, predicted, confidence, [True] * 6)
    assert estimate.confident_joint().tolist() == [[1, 0], [1, 1]]
    assert estimate.confident_joint(3).shape == (3, 3)
    assert estimate.by_class().tolist() == [0, 0.5]
    assert math.isnan(estimate.by_class(3)[2])
    with pytest.raises(ValueError, match="n_classes must be a whole number above the largest class, 1, got 1"):
        estimate.confident_joint(1)
    with pytest.raises(ValueError, match="read-only"):
        estimate.pairs[0, 0] = 1


def test_repr_is_readable():
    labels = np.arange(4000) % 5
    held_out = np.arange(4000) % 7 == 0
    estimate = rrm_core.estimate_contamination(labels, labels, np.ones(4000), held_out, groups=labels % 2)
    assert repr(estimate) == (
        "ContaminationEstimate(contamination=0.000, interval=(0.000, 0.014), 2 groups from 0.000 to 0.000, n=4_000, "
        "n_held_out=572, basis='the surest half of the predictions, and the surest quarter of those held out')"
    )


GOOD = {"labels": [0, 1], "predicted": [0, 1], "confidence": [0.5, 0.5], "held_out": [True, False]}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"labels": [0.0, 1.0]}, TypeError, "labels must be integers, got float64"),
        ({"predicted": ["a", "b"]}, TypeError, "predicted must be integers"),
        ({"predicted": [0]}, ValueError, r"predicted must have shape \(2,\), one class per sample, got \(1,\)"),
        ({"labels": []}, TypeError, "labels must be integers"),
        ({"labels": np.zeros(0, int)}, ValueError, r"labels must have shape \(n,\)"),
        ({"labels": [0, -100]}, ValueError, "labels must be at least 0, got -100; leave out samples without a label"),
        ({"confidence": [1, 2]}, TypeError, "confidence must be floating-point numbers, got int64"),
        ({"confidence": [0.5]}, ValueError, r"confidence must have shape \(2,\)"),
        ({"confidence": [0.5, math.nan]}, ValueError, "confidence contains NaN: 1 of 2"),
        ({"held_out": [1, 0]}, ValueError, r"held_out must be a mask, bool of shape \(2,\), got int64"),
        ({"held_out": [False, False]}, ValueError, "held_out must name at least one sample"),
        ({"groups": [0]}, ValueError, "groups must have one number for each of the 2 samples, got 1"),
    ],
)
def test_bad_input_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        rrm_core.estimate_contamination(**GOOD | change)
