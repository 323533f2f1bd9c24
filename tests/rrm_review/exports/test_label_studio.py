from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from rrm_review import label_studio_config, to_label_studio
from support.issue_tables import CLASSES, HOSTILE, first_rows, issue_table, without

TEXTS = ["text 0", "text 1", "text 2", HOSTILE]


TAGS = {"images": "Image", "texts": "Text", "table": "Table"}


def write(tmp_path, samples, issues=None, kind="texts", **arguments):
    path = tmp_path / "tasks.json"
    to_label_studio(issue_table() if issues is None else issues, samples, path, kind=kind, **arguments)
    return json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)


def test_task_has_the_sample_the_columns_and_the_predicted_label(tmp_path):
    (task,) = write(tmp_path, TEXTS, first_rows(issue_table(), 1), model_version="v1")
    choice = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": ["dog"]}}
    assert task == {
        "data": {
            "text": HOSTILE,
            "rrm_index": 3,
            "is_label_issue": True,
            "label_quality": 0.25,
            "given_label": HOSTILE,
            "predicted_label": "dog",
            "weight": 0,
            "loss": 3,
            "share_pruned": 1,
        },
        "predictions": [{"model_version": "v1", "score": 0.25, "result": [choice]}],
    }


def test_tasks_have_the_order_of_the_rows_and_null_for_nan_and_infinity(tmp_path):
    data = [task["data"] for task in write(tmp_path, TEXTS)]
    assert [task["rrm_index"] for task in data] == [3, 1, 0, 2]
    assert [task["text"] for task in data] == [HOSTILE, "text 1", "text 0", "text 2"]
    assert [task["loss"] for task in data] == [3, None, 0.1, None]
    assert [task["share_pruned"] for task in data] == [1, 0.5, 0, None]
    assert [task["weight"] for task in data] == [0, 0, 1.1, 1]


def test_label_quality_that_is_nan_is_a_null_score(tmp_path):
    (task,) = write(tmp_path, TEXTS, first_rows(issue_table(), 1) | {"label_quality": np.array([np.nan])})
    assert task["data"]["label_quality"] is None
    assert task["predictions"][0]["score"] is None


def test_integer_labels_are_text(tmp_path):
    issues = issue_table(labels=[0, 1, 1, 2], predictions=np.eye(4, 3), order="index")
    tasks = write(tmp_path, TEXTS, issues)
    assert [task["data"]["given_label"] for task in tasks] == ["0", "1", "1", "2"]
    assert [task["predictions"][0]["result"][0]["value"]["choices"] for task in tasks] == [["0"], ["1"], ["2"], ["0"]]


def test_images_are_paths_or_urls(tmp_path):
    images = [Path("a") / "0.png", "https://host/1.png", "2.png", Path("3.png")]
    data = [task["data"] for task in write(tmp_path, images, kind="images")]
    assert [task["image"] for task in data] == ["3.png", "https://host/1.png", "a/0.png", "2.png"]


def test_cells_of_a_table_are_text_and_missing_ones_null(tmp_path):
    frame = pd.DataFrame(
        {
            "x": np.array([0.1, np.nan, np.inf, 4], np.float32),
            "y": [None, "nan", 2, 3.5],
            "day": pd.to_datetime(["2024-01-02", None, "2024-01-03", "2024-01-04"]),
            5: [1, pd.NA, 3, 4],
        },
        index=list("abcd"),
    )
    data = [task["data"]["table"] for task in write(tmp_path, frame, issue_table(order="index"), kind="table")]
    assert [cells["x"] for cells in data] == ["0.1", None, None, "4.0"]
    assert [cells["y"] for cells in data] == [None, "nan", "2", "3.5"]
    assert [cells["day"] is None for cells in data] == [False, True, False, False]
    assert data[0]["day"].startswith("2024-01-02")
    assert [cells["5"] for cells in data] == ["1", None, "3", "4"]


def test_no_rows_are_an_empty_list(tmp_path):
    assert write(tmp_path, TEXTS, first_rows(issue_table(), 0)) == []


@pytest.mark.parametrize(
    ("issues", "samples", "kind", "error", "message"),
    [
        (issue_table(labels=None), TEXTS, "texts", ValueError, "needs the column 'given_label' .*; pass labels= to"),
        (issue_table(predictions=None), TEXTS, "texts", ValueError, "'predicted_label' .*; pass predictions= to"),
        (
            without(issue_table(), "index"),
            TEXTS,
            "texts",
            ValueError,
            "needs the column 'index' of issues, got is_label",
        ),
        (issue_table(), TEXTS, "video", ValueError, "kind must be 'images', 'texts' or 'table', got 'video'"),
        (issue_table(), TEXTS[:3], "texts", ValueError, "samples must have an item for each .*, got 3, .* the index 3"),
        (issue_table(), [1, 2, 3, 4], "texts", TypeError, "samples must be strings, got int among them"),
        (issue_table(), [Path("a")] * 4, "texts", TypeError, "samples must be strings, got PosixPath"),
        (issue_table(), {"x": TEXTS}, "texts", TypeError, "got a mapping; pass kind='table'"),
        (issue_table(), TEXTS, "table", TypeError, "samples must be a mapping of names to columns .*, got list"),
        (issue_table(), {}, "table", ValueError, "samples must have columns of distinct names"),
        (issue_table(), {1: TEXTS, "1": TEXTS}, "table", ValueError, "samples must have columns of distinct names"),
        (
            issue_table(),
            {"x": np.eye(4)},
            "table",
            ValueError,
            r"samples\['x'\] must have shape \(n,\), .*got \(4, 4\)",
        ),
        (issue_table(), ["\udcff"] * 4, "texts", ValueError, "samples must be strings that UTF-8 can .*, got one with"),
        (
            issue_table(ids=["\ud800"] * 4),
            TEXTS,
            "texts",
            ValueError,
            "column 'id' of issues must be strings that UTF-8",
        ),
        (issue_table() | {"text": TEXTS}, TEXTS, "texts", ValueError, "issues must have no column 'text'"),
        (issue_table() | {"index": np.ones(4)}, TEXTS, "texts", TypeError, "column 'index' .* must be integers"),
        (issue_table() | {"index": [0, 1, 1, 2]}, TEXTS, "texts", ValueError, "'index' .* must name each sample once"),
        (issue_table() | {"index": [0, 1, 2, -1]}, TEXTS, "texts", ValueError, "'index' .* must name each sample once"),
    ],
)
def test_wrong_arguments_are_refused_and_the_file_stays(tmp_path, issues, samples, kind, error, message):
    (tmp_path / "tasks.json").write_text("old")
    with pytest.raises(error, match=message):
        write(tmp_path, samples, issues, kind=kind)
    assert (tmp_path / "tasks.json").read_text() == "old"


@pytest.mark.parametrize("kind", ["images", "texts", "table"])
def test_config_has_a_choice_for_each_class(kind):
    root = ElementTree.fromstring(label_studio_config(CLASSES, kind))
    assert [(child.tag, child.get("value")) for child in root][:2] == [
        ("Header", "Given label: $given_label"),
        (TAGS[kind], f"${TAGS[kind].lower()}"),
    ]
    choices = root.find("Choices")
    assert (choices.get("name"), choices.get("toName")) == ("label", TAGS[kind].lower())
    assert [choice.get("value") for choice in choices] == list(CLASSES)


def test_config_of_integer_classes():
    assert '<Choice value="10"/>' in label_studio_config(range(11), "images")


@pytest.mark.parametrize("classes", [[], ["a", "a"], [1, "1"], [""], ["a", "$given_label"], ["\0"], ["\ud800"]])
def test_classes_that_label_studio_cannot_show_are_refused(classes):
    with pytest.raises(ValueError, match="classes must be "):
        label_studio_config(classes, "texts")
