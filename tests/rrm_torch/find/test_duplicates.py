"""Samples with exactly equal content."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rrm_torch.find.duplicates import find_duplicates

LABELS = np.array([0, 0, 1, 1, 0])


@pytest.mark.parametrize(
    "samples",
    [
        ["a", "b", " a\n", "B", "b"],
        np.array([[0.0, 1.0], [2.0, 3.0], [-0.0, 1.0], [2.0, 4.0], [2.0, 3.0]], np.float32),
        np.array([[[1]], [[2]], [[1]], [[3]], [[2]]], np.uint8),
        pd.DataFrame(
            {"x": [1.0, np.nan, 1.0, np.nan, np.nan], "y": pd.Categorical(["p", None, "p", "q", None])},
        ),
    ],
    ids=["texts", "features", "images", "table"],
)
def test_groups_and_their_labels(samples):
    groups = find_duplicates(samples, LABELS)
    assert [group.members.tolist() for group in groups] == [[0, 2], [1, 4]]
    assert [group.labels.tolist() for group in groups] == [[0, 1], [0, 0]]
    assert [group.labels_differ for group in groups] == [True, False]


def test_images_without_a_hash_are_no_duplicates():
    assert find_duplicates(["", "", "x", "y", "z"], LABELS) == []
