"""The table as a Dataset of Hugging Face's datasets."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

from rrm_review import to_dataset
from support.issue_tables import CLASSES, HOSTILE, first_rows, issue_table

TEXTS = ["text 0", "text 1", "text 2", HOSTILE]
NAMES = sorted(CLASSES)


def test_dataset_is_saved_loaded_and_filtered(tmp_path):
    issues = issue_table(ids=[Path(f"{i}.png") for i in range(4)])
    to_dataset(issues, {"text": TEXTS}).save_to_disk(tmp_path)
    dataset = datasets.load_from_disk(tmp_path)
    assert dataset.column_names == ["text", *issues]
    labels = datasets.ClassLabel(names=NAMES)
    assert (dataset.features["given_label"], dataset.features["predicted_label"]) == (labels, labels)
    found = dataset.filter(lambda row: row["is_label_issue"])
    assert found["text"][:] == [HOSTILE, "text 1"]
    assert found["id"][:] == ["3.png", "1.png"]
    assert labels.int2str(found["given_label"][:]) == [HOSTILE, "dog"]
    assert labels.int2str(found["predicted_label"][:]) == ["dog", "cat"]


def test_columns_keep_their_types_and_values():
    issues = issue_table(labels=np.array([0, 1, 1, 2], np.uint8), predictions=None, groups=[0, 1, 0, 1])
    dataset = to_dataset(issues)
    for name, column in issues.items():
        assert dataset.features[name].dtype == str(column.dtype)
        np.testing.assert_array_equal(np.array(dataset[name][:], column.dtype), column)


def test_samples_may_be_a_dataset_with_its_own_features():
    features = datasets.Features({"text": datasets.Value("large_string"), "y": datasets.ClassLabel(names=["a", "b"])})
    samples = datasets.Dataset.from_dict({"text": TEXTS, "y": [0, 1, 1, 0]}, features=features)
    dataset = to_dataset(first_rows(issue_table(), 3), samples)
    assert dataset["text"][:] == [HOSTILE, "text 1", "text 0"]
    assert {name: dataset.features[name] for name in features} == features


def test_samples_may_be_a_data_frame():
    frame = pd.DataFrame(
        {"x": np.arange(4, dtype=np.float32), "path": [Path(f"{i}") for i in range(4)]}, index=list("abcd")
    )
    dataset = to_dataset(issue_table(), frame)
    assert dataset["x"][:] == [3, 1, 0, 2]
    assert dataset["path"][:] == ["3", "1", "0", "2"]
    assert dataset.features["x"].dtype == "float32"


def test_no_rows_keep_the_features():
    dataset = to_dataset(first_rows(issue_table(), 0), {"x": np.arange(4)})
    assert dataset.num_rows == 0
    assert dataset.features["label_quality"].dtype == "float32"


@pytest.mark.parametrize(
    ("issues", "samples", "message"),
    [
        (issue_table(), {"loss": TEXTS}, "samples must have names other than those of the table, got 'loss'"),
        (issue_table(), {"text": TEXTS[:3]}, r"samples\['text'\] must have an item for each sample"),
        (issue_table(), datasets.Dataset.from_dict({"x": [1]}), "samples must have an item for each sample"),
        (issue_table(), {"text": ["\udcff"] * 4}, r"samples\['text'\] must be strings that UTF-8 can represent"),
        (issue_table(ids=["\udcff"] * 4), None, "column 'id' of issues must be strings that UTF-8 can represent"),
        (issue_table(labels=["\udcff"] * 4), None, "given_label and predicted_label of issues must be strings that"),
    ],
)
def test_wrong_arguments_are_refused(issues, samples, message):
    with pytest.raises(ValueError, match=message):
        to_dataset(issues, samples)


def test_samples_without_a_name_are_refused():
    with pytest.raises(TypeError, match="samples must be a Dataset or a mapping of names to columns, got list"):
        to_dataset(issue_table(), TEXTS)
