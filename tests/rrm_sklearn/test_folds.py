"""Folds, and the samples that can be judged."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import KFold

from rrm_sklearn.folds import Fold, find_judged, make_folds


def folds_of(cv, y, is_trained=None, random_state=0, is_classifier=True):
    y = np.asarray(y)
    if is_trained is None:
        is_trained = np.ones(len(y), bool)
    return make_folds(cv, np.zeros((len(y), 1)), y, is_trained, random_state, is_classifier=is_classifier)


def test_number_of_folds_is_stratified():
    y = np.repeat([0, 1], [90, 9])
    for fold in folds_of(3, y):
        assert np.bincount(y[fold.test]).tolist() == [30, 3]
        assert sorted([*fold.train, *fold.test]) == list(range(99))


def test_folds_are_numbered():
    assert [(fold.number, fold.total) for fold in folds_of(4, [0, 1] * 10)] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_random_state_decides():
    y = [0, 1] * 20
    first, same, other = (folds_of(2, y, random_state=seed)[0].test.tolist() for seed in (0, 0, 1))
    assert first == same != other


def test_classes_with_fewer_members_than_folds_are_spread():
    y = np.repeat([0, 1, 2], [20, 2, 1])
    tests = [y[fold.test].tolist() for fold in folds_of(3, y)]
    assert max(part.count(1) for part in tests) == 1


def test_only_rare_classes_are_split_without_strata():
    assert len(folds_of(3, [0, 0, 1, 1, 2, 2])) == 3


def test_numbers_are_split_for_a_regressor():
    folds = folds_of(3, np.linspace(0, 1, 30), is_classifier=False)
    assert [len(fold.test) for fold in folds] == [10, 10, 10]


def test_untrained_samples_are_tested_only():
    is_trained = np.arange(12) % 4 != 0
    folds = folds_of(KFold(3), [0, 1] * 6, is_trained)
    assert not {0, 4, 8} & {row for fold in folds for row in fold.train}
    assert sorted(row for fold in folds for row in fold.test) == list(range(12))


@pytest.mark.parametrize(
    ("splits", "tested"),
    [([([0, 1], [2, 3]), ([2, 3], [0])], "sample 1 0 times"), ([([0], [1, 2, 3]), ([1], [0, 3])], "sample 3 2 times")],
)
def test_splits_that_test_no_sample_once_are_refused(splits, tested):
    splits = [tuple(map(np.array, split)) for split in splits]
    with pytest.raises(ValueError, match=f"cv must test each sample once, as KFold does, but it tests {tested}"):
        folds_of(splits, [0, 1, 0, 1])


def test_sample_is_judged_if_its_class_and_itself_are_trained():
    codes = np.array([0, 0, 0, 1, 1, 2])
    folds = [Fold(1, 2, np.array([0, 1, 3]), np.array([2, 4, 5])), Fold(2, 2, np.array([2, 4, 5]), np.array([0, 1, 3]))]
    is_trained = np.array([True, False, True, True, True, True])
    assert find_judged(folds, codes, is_trained).tolist() == [True, False, True, True, True, False]
