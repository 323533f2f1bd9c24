from __future__ import annotations

import numpy as np
import pytest

from rrm_core import __version__
from rrm_review import to_argilla
from support.issue_tables import HOSTILE, first_rows, issue_table, without

TEXTS = ["text 0", "text 1", "text 2", HOSTILE]


def test_records_suggest_the_predicted_label():
    model = f"rrm-core {__version__}"
    assert to_argilla(first_rows(issue_table(), 2), TEXTS) == [
        {"id": "3", "text": HOSTILE, "given_label": HOSTILE, "label": "dog", "score": 0.25, "model": model},
        {"id": "1", "text": "text 1", "given_label": "dog", "label": "cat", "score": 0.5, "model": model},
    ]


def test_integer_labels_are_text_and_nan_is_no_score():
    issues = issue_table(labels=[0, 1, 1, 2], predictions=[0, 0, 1, 1]) | {"label_quality": np.full(4, np.nan)}
    record = to_argilla(issues, TEXTS)[0]
    assert (record["given_label"], record["label"], record["score"]) == ("2", "1", None)


@pytest.mark.parametrize(
    ("issues", "texts", "error", "message"),
    [
        (issue_table(labels=None), TEXTS, ValueError, "to_argilla needs the column 'given_label'"),
        (issue_table(predictions=None), TEXTS, ValueError, "to_argilla needs the column 'predicted_label'"),
        (without(issue_table(), "label_quality"), TEXTS, ValueError, "'label_quality' .*; pass a table of rrm.issues"),
        (issue_table(), TEXTS[:2], ValueError, "texts must have an item for each sample"),
        (issue_table(), [*TEXTS[:3], None], TypeError, "texts must be strings, got NoneType among them"),
        (issue_table(), ["\ud800"] * 4, ValueError, "texts must be strings that UTF-8 can represent"),
    ],
)
def test_wrong_arguments_are_refused(issues, texts, error, message):
    with pytest.raises(error, match=message):
        to_argilla(issues, texts)
