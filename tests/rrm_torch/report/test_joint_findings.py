from __future__ import annotations

import numpy as np
import pytest

from rrm_torch.report.joint_findings import ClassShare, JointCounts, PairCount, outlying_classes


def joint(table):
    """Return the counts of a table with a row for each given class."""
    table = np.asarray(table)
    given, predicted = table.nonzero()
    return JointCounts(np.stack([given, predicted, table[given, predicted]], axis=1), str)


def random_table(rng, sizes, rate):
    """Return a table of labels that were replaced at random: rows are the given classes, columns the true ones."""
    n_classes = len(sizes)
    table = np.zeros((n_classes, n_classes), int)
    for true, size in enumerate(sizes):
        shares = np.full(n_classes, rate / (n_classes - 1))
        shares[true] = 1 - rate
        table[:, true] = rng.multinomial(size, shares)
    return table


@pytest.mark.parametrize("sizes", [[100] * 10, [400, 200, 100, 50, 50], [30] * 40], ids=["ten", "unequal", "forty"])
def test_concentration_of_random_errors_has_the_expected_mean_and_spread(sizes):
    rng = np.random.default_rng(0)
    found = [joint(random_table(rng, sizes, 0.3)).error_kind() for _ in range(300)]
    scores = [(kind.concentration - kind.expected) / kind.standard_error for kind in found]
    assert abs(np.mean(scores)) < 0.35
    assert 0.8 < np.std(scores) < 1.25
    assert {kind.kind for kind in found} <= {"random", "unknown"}


def test_pair_noise_is_systematic_and_its_pairs_are_found():
    table = np.diag([70] * 10) + np.roll(np.diag([30] * 10), 1, axis=1) + 1
    kind = joint(table).error_kind()
    assert (kind.kind, kind.n) == ("systematic", 390)
    assert kind.concentration > 0.5 > 0.2 > kind.expected
    pairs = joint(table).outlying_pairs()
    assert {(pair.given, pair.predicted) for pair in pairs} == {(str(k), str((k + 1) % 10)) for k in range(10)}
    assert pairs[0].n == 31
    assert pairs[0].n_contradicted == 39


def test_preferred_but_not_only_classes_are_partly_systematic():
    table = np.diag([700] * 10) + np.roll(np.diag([120] * 10), 1, axis=1) + 20
    assert joint(table).error_kind().kind == "partly systematic"


def test_concentration_is_the_share_of_equal_pairs():
    # Of class 0, 12 and 10 labels are contradicted by class 1 and 2, of class 1 two labels by class 2.
    kind = joint([[50, 12, 10], [0, 40, 2], [0, 0, 40]]).error_kind()
    assert kind.concentration == pytest.approx((66 + 45 + 1) / (231 + 1))
    share = 52 / 104
    expected = 231 * (share**2 + (1 - share) ** 2) + (50**2 + 52**2) / 102**2
    assert kind.expected == pytest.approx(expected / 232)


def test_two_classes_have_one_other_class_each():
    kind = joint([[50, 30], [20, 60]]).error_kind()
    assert (kind.kind, kind.concentration, kind.expected) == ("unknown", 1, 1)
    assert joint([[50, 30], [20, 60]]).outlying_pairs() == ()
    # A third class that is never predicted leaves no choice either.
    assert joint([[50, 30, 0], [20, 60, 0], [1, 0, 0]]).error_kind().kind == "unknown"


@pytest.mark.parametrize("table", [np.diag([50] * 5), np.diag([50] * 20) + np.roll(np.eye(20, dtype=int), 1, axis=1)])
def test_few_contradictions_have_no_kind(table):
    kind = joint(table).error_kind()
    assert (kind.kind, kind.concentration) == ("unknown", None)


def test_random_errors_need_enough_pairs_to_be_called_so():
    table = np.diag([50] * 8)
    for k in range(8):
        table[k, [(k + 1) % 8, (k + 2) % 8, (k + 3) % 8]] = 1
    assert joint(table).error_kind().kind == "unknown"
    assert joint(10 * np.diag([50] * 8) + 10).error_kind().kind == "random"


def test_outlying_classes_are_those_far_above_all_together():
    n = np.array([100.0, 100.0, 100.0, 4.0, 0.0])
    suspicious = np.array([10.0, 12.0, 40.0, 4.0, 0.0])
    # Of class 3 all labels are suspicious, but there are four.
    assert outlying_classes(n, suspicious, str) == (ClassShare("2", 100, 40),)
    assert outlying_classes(n, np.array([10.0, 12.0, 14.0, 0.0, 0.0]), str) == ()
    by_share = outlying_classes(np.array([1000.0, 50.0, 50.0]), np.array([10.0, 25.0, 40.0]), "abc".__getitem__)
    assert [entry.name for entry in by_share] == ["c", "b"]
    assert by_share[0].share == 0.8


def test_pairs_are_compared_with_how_often_the_class_is_predicted():
    # Class 1 is predicted most, so its contradictions of classes 0 and 2 are expected.
    assert joint([[100, 30, 3], [5, 1000, 5], [3, 30, 100]]).outlying_pairs() == ()
    assert joint([[100, 5, 30], [5, 1000, 5], [3, 30, 100]]).outlying_pairs() == (PairCount("0", "2", 30, 35),)


def test_many_classes_need_no_table():
    given = np.arange(0, 200_000, 2)
    pairs = np.concatenate(
        [np.stack([given, given, given * 0 + 8], axis=1), np.stack([given + 1, given, given * 0 + 2], axis=1)]
    )
    counts = JointCounts(pairs, str)
    assert counts.n_classes == 200_000
    assert counts.error_kind().kind == "systematic"
