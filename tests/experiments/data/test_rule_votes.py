"""Rules vote on labels; samples are grouped by the rules that fired."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.data.rule_votes import group_by_count, group_by_rule, majority_vote


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([0, -1, -1], 0),
        ([2, 0, 2], 2),
        ([2, 2, 2], 2),
        ([1, 0, -1], -1),  # a tie
        ([0, 1, 2], -1),
        ([-1, -1, -1], -1),
    ],
)
def test_majority_decides_and_a_tie_does_not(votes, expected):
    labels = majority_vote(np.array([votes, [1, 1, 1]], np.int8), 3)
    assert labels.tolist() == [expected, 1]


def test_groups_by_count_have_one_for_many_rules():
    n_fired = np.array([1, 2, 3, 7, 1])
    assert group_by_count(n_fired).tolist() == [0, 1, 2, 2, 0]
    assert group_by_count(n_fired, largest=2).tolist() == [0, 1, 1, 1, 0]


def test_groups_by_rule_are_of_rules_that_fired_alone():
    # Rule 1 never fires alone, and rule 0 votes for class 0, which is no abstention.
    votes = np.array([[0, -1, -1, -1], [-1, -1, 1, -1], [0, 1, -1, -1], [-1, -1, 1, -1], [-1, 0, 1, 1]], np.int8)
    groups, rules = group_by_rule(votes)
    assert groups.tolist() == [0, 1, 2, 1, 2]
    assert rules.tolist() == [0, 2, -1]


def test_groups_without_several_rules_have_no_group_of_them():
    groups, rules = group_by_rule(np.array([[-1, 0], [1, -1]], np.int8))
    assert groups.tolist() == [1, 0]
    assert rules.tolist() == [0, 1]


def test_samples_without_a_vote_are_rejected():
    with pytest.raises(ValueError, match="each sample must have a vote, got 2 without one; leave them out"):
        group_by_count(np.array([1, 0, 0]))
    with pytest.raises(ValueError, match="got 1 without one"):
        group_by_rule(np.array([[-1, -1], [1, -1]], np.int8))
