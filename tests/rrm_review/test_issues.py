from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from rrm_review import make_issues, to_frame

# Sample 2 was pruned by every reweight, 4 and 1 by half of them, the others by none; 0 and 3 have the same excess.
SHARE = np.array([0.0, 0.5, 1.0, 0.0, 0.5])
EXCESS = np.array([-1.5, -0.25, 2.0, -1.5, 0.75], np.float32)
COURSE = {
    "is_label_issue": np.array([False, False, True, False, True]),
    "share_pruned": SHARE,
    "mean_excess": EXCESS,
    "sample_weight": np.array([1.5, 1.5, 0, 1.5, 0], np.float32),
    "loss": np.array([0.1, 0.7, 4, 0.1, 2], np.float32),
}
LABELS = [0, 1, 1, 0, 2]


def table(**arguments):
    return make_issues(**(COURSE | arguments))


def test_columns_by_suspicion():
    issues = table(labels=LABELS, predictions=[0, 1, 0, 0, 0], ids=list("abcde"))
    assert {name: column.tolist() for name, column in issues.items()} == {
        "index": [2, 4, 1, 0, 3],
        "id": ["c", "e", "b", "a", "d"],
        "is_label_issue": [True, True, False, False, False],
        "label_quality": [np.float32(0.2), np.float32(0.4), np.float32(0.6), 1, 1],
        "given_label": [1, 2, 1, 0, 0],
        "predicted_label": [0, 0, 1, 0, 0],
        "sample_weight": [0, 0, 1.5, 1.5, 1.5],
        "loss": [4, 2, np.float32(0.7), np.float32(0.1), np.float32(0.1)],
        "share_pruned": [1, 0.5, 0.5, 0, 0],
    }
    assert issues["index"].dtype == np.int64
    assert issues["is_label_issue"].dtype == bool
    assert issues["label_quality"].dtype == issues["loss"].dtype == np.float32


def test_index_order_has_the_same_rows():
    arguments = {"labels": LABELS, "predictions": [0, 1, 0, 0, 0], "ids": list("abcde")}
    by_suspicion, by_index = table(**arguments), table(**arguments, order="index")
    assert by_index["index"].tolist() == [0, 1, 2, 3, 4]
    assert list(by_index) == list(by_suspicion)
    for name, column in by_index.items():
        np.testing.assert_array_equal(by_suspicion[name], column[by_suspicion["index"]])


def test_columns_of_what_is_not_given_are_left_out():
    assert list(table()) == ["index", "is_label_issue", "label_quality", "sample_weight", "loss", "share_pruned"]


def test_label_quality_is_the_share_of_samples_at_least_as_suspicious():
    rng = np.random.default_rng(0)
    excess = rng.integers(-8, 8, 200) / 3
    rows = np.arange(200)
    course = dict.fromkeys(("is_label_issue", "sample_weight", "loss", "share_pruned"), rows)
    issues = make_issues(**course, mean_excess=excess, order="index")
    expected = [(excess >= own).mean() for own in excess]
    np.testing.assert_array_equal(issues["label_quality"], np.float32(expected))


def test_samples_without_a_reweight_are_the_least_suspicious():
    share, excess = np.where(SHARE == 0.5, np.nan, SHARE), np.where(SHARE == 0.5, np.nan, EXCESS)
    issues = table(share_pruned=share, mean_excess=excess)
    assert issues["index"].tolist() == [2, 0, 3, 1, 4]
    assert issues["label_quality"].tolist() == [np.float32(0.2), np.float32(0.6), np.float32(0.6), 1, 1]
    none = np.full(5, np.nan)
    assert table(share_pruned=none, mean_excess=none)["label_quality"].tolist() == [1] * 5


@pytest.mark.parametrize("order", ["suspicion", "index"])
def test_table_shares_no_memory_with_what_is_given(order):
    labels = np.array(LABELS)
    issues = table(labels=labels, predictions=labels, ids=labels, order=order)
    given = [labels, *COURSE.values()]
    assert not [name for name, column in issues.items() if any(np.shares_memory(column, array) for array in given)]


def test_scores_by_class_become_predicted_labels():
    scores = np.array([[3, 1, 2], [0, 9, 1], [1, 0, 0], [5, 5, 1], [-3, -2, -1]])
    for dtype in (int, np.float32):
        issues = table(labels=LABELS, predictions=scores.astype(dtype), order="index")
        assert issues["predicted_label"].tolist() == [0, 1, 0, 0, 2]
    assert table(predictions=scores, order="index")["predicted_label"].tolist() == [0, 1, 0, 0, 2]


def test_strings_and_paths_are_kept_whole():
    names = ["cat", "dog\0", "", "Katze, groß", "x" * 100]
    issues = table(labels=names, predictions=np.array(["cat", "dog", "", "é", "x"]), order="index")
    assert issues["given_label"].tolist() == names
    assert issues["predicted_label"].tolist() == ["cat", "dog", "", "é", "x"]
    paths = np.array([Path("train") / f"{i}.png" for i in range(5)])
    for given in (paths, paths.tolist()):
        assert table(ids=given, order="index")["id"].tolist() == [f"train/{i}.png" for i in range(5)]
    assert paths[0] == Path("train/0.png")


def test_integers_keep_their_type():
    assert table(labels=np.array(LABELS, np.uint8))["given_label"].dtype == np.uint8
    assert table(ids=[2**64 - 1, 1, 2, 3, 4], order="index")["id"].tolist() == [2**64 - 1, 1, 2, 3, 4]
    assert table(labels=[np.int32(1), 2, 0, 1, 1])["given_label"].dtype.kind == "i"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"order": "quality"}, ValueError, "order must be 'suspicion' or 'index', got 'quality'"),
        ({"is_label_issue": [[True]]}, ValueError, r"is_label_issue must have shape \(n,\), got \(1, 1\)"),
        ({"loss": [1.0]}, ValueError, r"loss must have shape \(5,\), one per sample, got \(1,\)"),
        ({"labels": [0] * 6}, ValueError, r"labels must have shape \(5,\), one per sample, got \(6,\)"),
        ({"labels": np.eye(5)}, ValueError, r"labels must have shape \(5,\), one per sample, got \(5, 5\)"),
        ({"ids": "ab"}, ValueError, r"ids must have shape \(5,\), one per sample, got \(\)"),
        ({"labels": np.ones(5)}, TypeError, "labels must be integers or strings, got float64; convert class numbers"),
        ({"labels": np.ones(5, bool)}, TypeError, "labels must be integers or strings, got bool"),
        ({"labels": [0, 1, "a", None, 2.5]}, TypeError, "labels must be all .*, got NoneType, float, int among them"),
        ({"ids": [True] * 5}, TypeError, "ids must be all integers or all strings, got bool among them"),
        ({"ids": [b"a"] * 5}, TypeError, "ids must be all integers or all strings, got bytes among them"),
        ({"ids": [2**64] * 5}, ValueError, "ids must be integers of at most 64 bits"),
        ({"labels": LABELS, "predictions": list("abcde")}, TypeError, "one kind, got integers and strings"),
        ({"labels": list("abcde"), "predictions": np.array(LABELS)}, TypeError, "one kind, got strings and integers"),
        ({"labels": list("abcde"), "predictions": np.eye(5)}, TypeError, "labels must be integers, .* got strings"),
        (
            {"labels": LABELS, "predictions": np.eye(5, 2)},
            ValueError,
            r"must lie in \[0, 2\), .*; got 2 at index 4",
        ),
        ({"labels": [0, -100, 0, 0, 0], "predictions": np.eye(5)}, ValueError, "got -100 at index 1"),
        ({"predictions": np.eye(4)}, ValueError, r"must have shape \(5,\) or \(5, n_classes\), got \(4, 4\)"),
        ({"predictions": np.empty((5, 0))}, ValueError, r"must have shape \(5,\) or \(5, n_classes\), got \(5, 0\)"),
        ({"predictions": [[0, np.nan]] * 5}, ValueError, "predictions contain NaN: in the rows of 5 samples"),
        ({"predictions": [[0, 1]] * 4 + [[1]]}, ValueError, "predictions must have rows of one length"),
        ({"predictions": np.ones(5)}, TypeError, "predictions must be integers or strings, got float64"),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        table(**arguments)


def test_data_frame_has_the_columns_in_their_order():
    issues = table(labels=LABELS, ids=list("abcde"))
    frame = to_frame(issues)
    assert list(frame.columns) == list(issues)
    for name, column in issues.items():
        assert frame[name].tolist() == column.tolist()
    assert frame["is_label_issue"].dtype == bool


def test_data_frame_without_pandas_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ModuleNotFoundError, match="to_frame needs pandas, which is not installed: pip install pandas"):
        to_frame(table())
