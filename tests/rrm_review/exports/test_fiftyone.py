from __future__ import annotations

import json
from pathlib import Path

import pytest

from rrm_review import to_fiftyone
from support.issue_tables import CLASSES, HOSTILE, first_rows, issue_table, without

PATHS = [Path("/images") / f"{i}.png" for i in range(4)]


def write(tmp_path, issues, paths=PATHS):
    to_fiftyone(issues, paths, tmp_path / "labels.json")
    return json.loads((tmp_path / "labels.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_labels_have_the_columns_as_attributes(tmp_path):
    issues = first_rows(issue_table(ids=PATHS), 2)
    assert write(tmp_path, issues) == {
        "classes": sorted(CLASSES)[:3],
        "labels": {
            "/images/3.png": {
                "label": HOSTILE,
                "attributes": {
                    "rrm_index": 3,
                    "rrm_id": "/images/3.png",
                    "is_label_issue": True,
                    "label_quality": 0.25,
                    "predicted_label": "dog",
                    "sample_weight": 0,
                    "loss": 3,
                    "share_pruned": 1,
                },
            },
            "/images/1.png": {
                "label": "dog",
                "attributes": {
                    "rrm_index": 1,
                    "rrm_id": "/images/1.png",
                    "is_label_issue": True,
                    "label_quality": 0.5,
                    "predicted_label": "cat",
                    "sample_weight": 0,
                    "loss": None,
                    "share_pruned": 0.5,
                },
            },
        },
    }


def test_relative_paths_start_at_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = write(tmp_path, issue_table(), [f"{i}.png" for i in range(4)])["labels"]
    assert set(labels) == {str(tmp_path / f"{i}.png") for i in range(4)}


def test_integer_labels_are_text_in_the_order_of_their_numbers(tmp_path):
    written = write(tmp_path, issue_table(labels=[10, 9, 9, 9], predictions=None))
    assert written["classes"] == ["9", "10"]
    assert written["labels"]["/images/0.png"]["label"] == "10"


@pytest.mark.parametrize(
    ("issues", "paths", "error", "message"),
    [
        (without(issue_table(), "given_label"), PATHS, ValueError, "to_fiftyone needs the column 'given_label'"),
        (issue_table() | {"tags": CLASSES + CLASSES[:1]}, PATHS, ValueError, "must have no column 'tags'"),
        (issue_table(), PATHS[:3], ValueError, "paths must have an item for each sample"),
        (issue_table(), [1, 2, 3, 4], TypeError, "paths must be strings or paths, got int among them"),
        (issue_table(), ["a", "b", "c", "a"], ValueError, "paths must be distinct, got .*a for several samples"),
        (issue_table(), ["a", "b", "c", "\udcff.png"], ValueError, "paths must be strings that UTF-8 can represent"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, issues, paths, error, message):
    with pytest.raises(error, match=message):
        write(tmp_path, issues, paths)
    assert not list(tmp_path.iterdir())
