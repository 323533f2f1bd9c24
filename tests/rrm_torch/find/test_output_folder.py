"""The files that a search writes, and the columns that decisions add."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rrm_review import apply_corrections
from rrm_torch.find.corrections import corrected_data, corrected_duplicates, with_decisions
from rrm_torch.find.duplicates import Duplicates, find_duplicates
from rrm_torch.find.output_folder import write_folder
from rrm_torch.find.readers.labelled_data import LabelledData, LeftOut
from rrm_torch.find.result import Result, with_confidence
from support.planted_errors import read_csv
from support.review_pages import read_page_data

CLASSES = ("cat", "dog", "owl")


def make_data():
    texts = ["a", "b", "a", "c", "a", "b", "d"]
    labels = np.array([0, 1, 1, 2, 0, 1, 2])
    ids = np.array([f"t{index}" for index in range(7)], dtype=object)
    return LabelledData("pets", "texts", texts, labels, CLASSES, ids, [], [])


def make_result(data, order, pruned=None):
    """Return a result of the samples in an order, which flags the first."""
    names = np.array(CLASSES, dtype=object)[data.labels[order]]
    issues = {
        "index": np.array(order),
        "id": data.ids[order],
        "is_label_issue": np.arange(len(order)) == 0,
        "label_quality": np.linspace(0, 1, len(order)),
        "given_label": names,
        "predicted_label": names,
    }
    return Result(issues, None, 1 / len(order), pruned, "a model", True)


def test_decisions_map_the_indices_to_all_samples():
    data = make_data()
    words = {"id": ["t1", "t3", "t4"], "decision": ["drop", "relabel", "drop"], "label": ["", "cat", ""]}
    corrected = apply_corrections(np.array(CLASSES, dtype=object)[data.labels], words, ids=data.ids, classes=CLASSES)
    training = corrected_data(data, corrected)
    assert training.samples == ["a", "a", "c", "b", "d"]
    assert training.labels.tolist() == [0, 1, 0, 1, 2]
    assert training.left_out == [LeftOut("t1", "dropped by a correction"), LeftOut("t4", "dropped by a correction")]

    pruned = np.array([[True, False, False, False, False], [False, False, True, False, True]])
    result = with_decisions(make_result(training, [2, 0, 4, 3, 1], pruned), data, corrected)
    table = result.issues
    assert list(table) == [
        "index", "id", "is_label_issue", "label_quality", "given_label", "decision", "label", "predicted_label"
    ]  # fmt: skip
    assert table["index"].tolist() == [3, 0, 6, 5, 2]
    assert table["id"].tolist() == ["t3", "t0", "t6", "t5", "t2"]
    assert table["given_label"].tolist() == ["owl", "cat", "owl", "dog", "dog"]
    assert table["label"].tolist() == ["cat", "cat", "owl", "dog", "dog"]
    assert table["decision"].tolist() == ["relabel", "", "", "", ""]
    assert np.argwhere(result.pruned).tolist() == [[0, 0], [1, 3], [1, 6]]
    assert result.pruned.shape == (2, 7)
    assert with_decisions(make_result(training, [2, 0, 4, 3, 1]), data, corrected).pruned is None

    groups = corrected_duplicates(find_duplicates(data.samples, data.labels), data, corrected)
    assert [(group.members.tolist(), group.labels.tolist()) for group in groups] == [([0, 2], [0, 1])]


def test_groups_with_different_labels_come_first(tmp_path):
    data = make_data()
    duplicates = [Duplicates(np.array([1, 5]), np.array([1, 1])), Duplicates(np.array([0, 2, 4]), np.array([0, 1, 0]))]
    names = write_folder(tmp_path, data, make_result(data, [4, 0, 1, 2, 3, 5, 6]), duplicates, ["A summary."])
    assert names == ["review.html", "issues.csv", "summary.txt", "results.json", "duplicates.csv"]
    assert [tuple(row.values()) for row in read_csv(tmp_path / "duplicates.csv")] == [
        ("0", "True", "0", "t0", "cat"),
        ("0", "True", "2", "t2", "dog"),
        ("0", "True", "4", "t4", "cat"),
        ("1", "False", "1", "t1", "dog"),
        ("1", "False", "5", "t5", "dog"),
    ]
    remarks = {row["id"]: row["duplicates"] for row in read_csv(tmp_path / "issues.csv") if row["duplicates"]}
    assert remarks == {
        "t0": "same content as t2, which is dog",
        "t2": "same content as t0, which is cat",
        "t4": "same content as t2, which is dog",
    }
    page = read_page_data(tmp_path / "review.html")
    assert page["columns"]["duplicates"][0] == "same content as t2, which is dog"
    assert (page["title"], page["notes"]) == ("Label issues of pets", ["A summary."])


def test_agreeing_duplicates_have_no_remarks(tmp_path):
    data = replace(make_data(), left_out=[LeftOut("=x", "no label")])
    write_folder(tmp_path, data, make_result(data, range(7)), [Duplicates(np.array([1, 5]), np.array([1, 1]))], [])
    assert "duplicates" not in read_csv(tmp_path / "issues.csv")[0]
    assert read_csv(tmp_path / "left_out.csv") == [{"id": "'=x", "reason": "no label"}]


def test_the_table_is_kept_if_the_page_fails(tmp_path, monkeypatch):
    data = make_data()
    (tmp_path / "review.html").mkdir()
    with pytest.raises(OSError):
        write_folder(tmp_path, data, make_result(data, range(7)), [], [])
    assert len(read_csv(tmp_path / "issues.csv")) == 7


def test_confidence_follows_the_index():
    issues = {
        "index": np.array([2, 0, 1]),
        "group": np.zeros(3),
        "predicted_label": np.array(["a", "b", "c"], dtype=object),
        "loss": np.zeros(3),
    }
    table = with_confidence(issues, np.array([0.25, 0.5, 0.75]))
    assert list(table) == ["index", "predicted_label", "confidence", "loss"]
    assert table["confidence"].tolist() == [0.75, 0.25, 0.5]
    assert table["confidence"].dtype == np.float32


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint8, 0, 255), (np.float32, 0, 255), (np.float32, -1, 1)])
def test_page_shows_arrays_of_images_whatever_their_values(tmp_path, channels, dtype, low, high):
    images = np.linspace(low, high, 7 * 8 * 8 * (channels or 1)).reshape(7, 8, 8, *([channels] if channels else []))
    data = replace(make_data(), kind="images", samples=images.astype(dtype))
    write_folder(tmp_path, data, make_result(data, list(range(7))), [], ["the summary"])
    content = read_page_data(tmp_path / "review.html")["content"]
    assert content["errors"] == {}
    with Image.open(BytesIO(b64decode(content["images"][6].partition(",")[2]))) as picture:
        pixels = np.asarray(picture)
    # Transparent pixels are white.
    assert pixels.min() >= 200
    assert pixels.shape == ((8, 8) if channels in (None, 1) else (8, 8, 3))
