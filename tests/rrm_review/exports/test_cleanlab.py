from __future__ import annotations

import numpy as np
import pytest
from cleanlab.classification import CleanLearning
from sklearn.linear_model import LogisticRegression

from rrm_review import to_cleanlab, to_datalab
from support.issue_tables import GIVEN, HOSTILE, first_rows, issue_table, without

NUMBERS = [0, 1, 1, 2]
"""Numbers of the classes of the given labels."""


def test_columns_in_the_order_of_the_samples():
    frame = to_cleanlab(issue_table(labels=NUMBERS, predictions=[0, 0, 1, 1]))
    assert {name: frame[name].tolist() for name in frame} == {
        "is_label_issue": [False, True, False, True],
        "label_quality": [0.75, 0.5, 1, 0.25],
        "given_label": NUMBERS,
        "predicted_label": [0, 0, 1, 1],
        "sample_weight": [np.float32(1.1), 0, 1, 0],
    }
    assert frame.index.tolist() == [0, 1, 2, 3]


def test_names_of_classes_become_the_numbers_that_fit_gets():
    frame = to_cleanlab(issue_table(), labels=NUMBERS)
    assert frame["given_label"].tolist() == NUMBERS
    assert frame["predicted_label"].tolist() == [0, 0, 1, 1]
    assert to_cleanlab(issue_table(labels=None, predictions=None), NUMBERS)["given_label"].tolist() == NUMBERS


def test_clean_learning_trains_without_the_issues():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = (x[:, 0] > 0).astype(int)
    wrong = rng.choice(60, 12, replace=False)
    given = y.copy()
    given[wrong] = 1 - given[wrong]
    names = np.array(["no", "yes"])
    zeros = np.zeros(60)
    is_issue = np.isin(np.arange(60), wrong)
    issues = issue_table(
        is_label_issue=is_issue,
        share_pruned=zeros,
        mean_excess=is_issue + rng.random(60),
        sample_weight=~is_issue,
        loss=zeros,
        labels=names[given],
        predictions=names[y],
    )
    learner = CleanLearning(LogisticRegression()).fit(x, given, label_issues=to_cleanlab(issues, given))
    alone = LogisticRegression().fit(x[~is_issue], y[~is_issue])
    np.testing.assert_array_equal(learner.predict_proba(x), alone.predict_proba(x))
    stored = learner.get_label_issues()
    np.testing.assert_array_equal(stored["given_label"], given)
    np.testing.assert_array_equal(stored["predicted_label"], y)


def test_columns_of_datalab():
    frame = to_datalab(issue_table())
    assert {name: frame[name].tolist() for name in frame} == {
        "is_label_issue": [False, True, False, True],
        "label_score": [0.75, 0.5, 1, 0.25],
        "given_label": GIVEN,
        "predicted_label": ["cat", "cat", "dog", "dog"],
    }


@pytest.mark.parametrize(
    ("issues", "labels", "error", "message"),
    [
        (issue_table(), None, TypeError, "'given_label' of issues holds strings; pass labels="),
        (issue_table(), GIVEN, TypeError, "labels must be integers, got strings; np.unique"),
        (issue_table(), NUMBERS[:3], ValueError, r"labels must have shape \(4,\)"),
        (issue_table(), [1, 0, 1, 2], ValueError, "labels must be one number for each class"),
        (issue_table(), [0, 1, 1, 1], ValueError, "labels must be one number for each class"),
        (issue_table(labels=None), NUMBERS, ValueError, "needs the column 'given_label' of issues to number"),
        (
            issue_table(predictions=["cat", "cow", "dog", HOSTILE]),
            NUMBERS,
            ValueError,
            "labels have no number for the predicted class 'cow'",
        ),
        (first_rows(issue_table(), 3), NUMBERS[:3], ValueError, "must have a row for each sample, got 3 rows"),
        (without(issue_table(), "is_label_issue"), NUMBERS, ValueError, "needs the column 'is_label_issue'"),
    ],
)
def test_wrong_arguments_are_refused(issues, labels, error, message):
    with pytest.raises(error, match=message):
        to_cleanlab(issues, labels)


def test_datalab_needs_labels_and_predictions():
    with pytest.raises(ValueError, match="to_datalab needs the column 'predicted_label'"):
        to_datalab(issue_table(predictions=None))
