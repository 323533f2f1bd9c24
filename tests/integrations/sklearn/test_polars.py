"""Data frames of polars."""

from __future__ import annotations

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression

from rrm_sklearn import RRMClassifier
from support.noisy_tables import two_groups


def test_polars_is_as_numpy():
    x, labels, _ = two_groups()
    frame = pl.DataFrame(x, schema=["a", "b", "c"])
    model = RRMClassifier(LogisticRegression(), contamination=0.1).fit(frame, pl.Series(labels))
    plain = RRMClassifier(LogisticRegression(), contamination=0.1).fit(x, labels)
    np.testing.assert_array_equal(model.losses_, plain.losses_)
    # Older versions of scikit-learn don't read the names of columns of newer versions of polars.
    names = getattr(LogisticRegression().fit(frame, labels), "feature_names_in_", None)
    assert getattr(model, "feature_names_in_", None) is names or model.feature_names_in_.tolist() == ["a", "b", "c"]
