"""Small tables of label issues for the tests of exports."""

from __future__ import annotations

import numpy as np

from rrm_review import make_issues

HOSTILE = "c<\"&'>,\n$ \u2028=1+1 😀"
CLASSES = ("cat", "dog", HOSTILE)

NUMBERS = {
    "is_label_issue": [False, True, False, True],
    "share_pruned": [0.0, 0.5, np.nan, 1.0],
    "mean_excess": [-1.0, 0.5, np.nan, 2.0],
    "sample_weight": np.array([1.1, 0, 1, 0], np.float32),
    "loss": np.array([0.1, np.inf, np.nan, 3], np.float32),
}
GIVEN = ["cat", "dog", "dog", HOSTILE]
PREDICTED = ["cat", "cat", "dog", "dog"]


def issue_table(**arguments):
    """Return a table of four samples; by suspicion these are 3, 1, 0 and 2."""
    return make_issues(**{**NUMBERS, "labels": GIVEN, "predictions": PREDICTED, **arguments})


def first_rows(issues, n):
    return {name: column[:n] for name, column in issues.items()}


def without(issues, name):
    return {other: column for other, column in issues.items() if other != name}
