"""Labels by a vote of labelling rules, and groups of samples by the rules that fired."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ABSTAIN = -1
"""The vote of a rule that did not fire, and the label of a sample without a majority."""

SEVERAL = -1
"""In place of a rule: the samples on which several rules fired."""

Votes = npt.NDArray[np.int8]


def majority_vote(votes: Votes, n_classes: int) -> npt.NDArray[np.int64]:
    """Return the class with the most votes of each sample.

    A tie has no label, as a sample without a vote has none: either class would be a guess. Leave these samples out, or
    label them in another way.

    Parameters
    ----------
    votes : int8 array of shape (n, n_rules)
        Classes in [0, n_classes); −1 where a rule abstains.
    n_classes : int

    Returns
    -------
    int64 array of shape (n,)
        −1 without a majority.

    Examples
    --------
    >>> majority_vote(np.array([[1, 1, 0], [0, 1, -1], [-1, -1, -1]], np.int8), 2)
    array([ 1, -1, -1])
    """
    counts = np.stack([(votes == k).sum(axis=1) for k in range(n_classes)], axis=1)
    most = counts.max(axis=1)
    is_decided = (most > 0) & ((counts == most[:, None]).sum(axis=1) == 1)
    return np.where(is_decided, counts.argmax(axis=1), ABSTAIN)


def group_by_count(n_fired: npt.NDArray[np.int64], largest: int = 3) -> npt.NDArray[np.int64]:
    """Return groups of samples by the number of rules that fired, for the argument `groups` of RRM.

    Group 0 has one rule fired, group 1 two, and so on; the last group has `largest` rules or more.

    Parameters
    ----------
    n_fired : int64 array of shape (n,)
        At least 1: leave out samples without a label first.
    largest : int, default 3

    Raises
    ------
    ValueError
        No rule fired on a sample.
    """
    _check_votes(n_fired)
    return np.minimum(n_fired, largest).astype(np.int64) - 1


def group_by_rule(votes: Votes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return groups of samples by the rule that fired, for the argument `groups` of RRM.

    A rule has the samples on which it alone fired, which have no other source. All samples on which several rules fired
    are one more group, the last. A rule that never fires alone has no group.

    Parameters
    ----------
    votes : int8 array of shape (n, n_rules)
        −1 where a rule abstains. A rule fired on each sample: leave out the others first.

    Returns
    -------
    groups : int64 array of shape (n,)
    rules : int64 array of shape (n_groups,)
        The column of each group's rule; −1 for the group of several rules.

    Raises
    ------
    ValueError
        No rule fired on a sample.
    """
    fired = votes != ABSTAIN
    _check_votes(fired.sum(axis=1))
    rule = np.where(fired.sum(axis=1) == 1, fired.argmax(axis=1), fired.shape[1])
    rules, groups = np.unique(rule, return_inverse=True)
    return groups.astype(np.int64), np.where(rules == fired.shape[1], SEVERAL, rules)


def _check_votes(n_fired: npt.NDArray[np.int64]) -> None:
    n_without = int((n_fired < 1).sum())
    if n_without:
        raise ValueError(f"each sample must have a vote, got {n_without:,} without one; leave them out")
