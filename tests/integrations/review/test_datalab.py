"""The table beside that of cleanlab's Datalab."""

from __future__ import annotations

import numpy as np
from cleanlab import Datalab

from rrm_review import to_datalab
from support.issue_tables import issue_table


def test_columns_are_those_of_datalab():
    rng = np.random.default_rng(0)
    labels = np.repeat(["cat", "dog"], 20)
    probabilities = rng.dirichlet([1, 1], 40)
    lab = Datalab({"label": labels}, label_name="label", verbosity=0)
    lab.find_issues(pred_probs=probabilities, issue_types={"label": {}})
    expected = lab.get_issues("label")
    frame = to_datalab(issue_table())
    assert list(frame.columns) == list(expected.columns)
    assert [frame[name].dtype.kind for name in frame] == [expected[name].dtype.kind for name in expected]
