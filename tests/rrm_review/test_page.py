from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from rrm_review import page_samples, write_page
from support.review_pages import make_table, photographs, read_page_data

TEXTS = [f"text {i}" for i in range(6)]


# What is on the page


def test_page_holds_the_table_and_the_texts(tmp_path):
    path = tmp_path / "p.html"
    table = make_table(4, id=["d", "c", "b", "a"], loss=np.array([0.5, np.nan, np.inf, 0.1], np.float32))
    assert write_page(table, TEXTS[:4], path, classes=["cat", "dog", "eel"], title="Pets", notes=["a note"]) == 4
    data = read_page_data(path)
    assert data["ids"] == ["d", "c", "b", "a"]
    assert data["content"] == {"texts": TEXTS[:4]}
    assert (data["title"], data["notes"], data["kind"], data["total"]) == ("Pets", ["a note"], "texts", 4)
    assert data["given"] == [0, 1, 2, 0]
    assert data["predicted"] == [1, 2, 2, 0]
    assert data["names"] == ["cat", "dog", "eel"]
    assert data["values"] == ["0", "1", "2"]
    assert data["integers"] == {"id": False, "label": True}
    assert data["columns"]["loss"] == [0.5, None, "∞", 0.1]
    assert data["columns"]["is_label_issue"] == [True, True, False, False]
    assert sorted(data["columns"]) == ["is_label_issue", "label_quality", "loss"]


def test_rows_are_sorted_by_quality_then_index(tmp_path):
    table = make_table(6, label_quality=np.array([0.5, 0.2, np.nan, 0.2, 1.0, 0.1]))
    shuffled = {name: column[[3, 0, 5, 1, 4, 2]] for name, column in table.items()}
    write_page(shuffled, TEXTS, tmp_path / "p.html")
    data = read_page_data(tmp_path / "p.html")
    assert data["index"] == [5, 1, 3, 0, 4, 2]
    assert data["content"]["texts"] == [TEXTS[i] for i in data["index"]]
    assert data["ids"] == [str(i) for i in data["index"]]


def test_some_rows_of_a_table_are_enough(tmp_path):
    table = {name: column[[4, 2]] for name, column in make_table(6).items()}
    assert write_page(table, TEXTS, tmp_path / "p.html") == 2
    assert read_page_data(tmp_path / "p.html")["content"]["texts"] == ["text 2", "text 4"]


def test_data_frame_of_issues_gives_the_same_page(tmp_path):
    table = make_table(6, id=list("abcdef"), remark=list("ghijkl"))
    write_page(table, TEXTS, tmp_path / "a.html")
    write_page(pd.DataFrame(table), TEXTS, tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_table_without_rows_is_a_page_without_samples(tmp_path):
    table = {name: column[:0] for name, column in make_table(6).items()}
    assert write_page(table, TEXTS, tmp_path / "p.html") == 0


def test_limit_keeps_the_most_suspicious(tmp_path, monkeypatch):
    path = tmp_path / "p.html"
    assert write_page(make_table(6), TEXTS, path, limit=2) == 2
    data = read_page_data(path)
    assert (data["index"], data["total"]) == ([0, 1], 6)
    assert write_page(make_table(1200), np.zeros((1200, 1, 1), np.uint8), path) == 1000
    assert write_page(make_table(1200), [""] * 1200, path) == 1200


def test_large_integers_are_strings(tmp_path):
    ids = np.array([2**64 - 1, 2**53 + 1, 5], np.uint64)
    write_page(make_table(3, id=ids, big=ids), TEXTS[:3], tmp_path / "p.html")
    data = read_page_data(tmp_path / "p.html")
    assert data["ids"] == data["columns"]["big"] == ["18446744073709551615", "9007199254740993", "5"]
    assert data["integers"]["id"] is True


def test_history_is_stored_by_sample(tmp_path):
    pruned = np.random.default_rng(0).random((11, 6)) < 0.5
    table = make_table(6, label_quality=np.arange(6)[::-1] / 5)
    write_page(table, TEXTS, tmp_path / "p.html", pruned=pruned)
    history = read_page_data(tmp_path / "p.html")["pruned"]
    bits = [[int(bit) for bit in f"{int(digits, 16):016b}"[:11]] for digits in history["bits"]]
    assert history["n"] == 11
    np.testing.assert_array_equal(bits, pruned.T[::-1])


def test_decisions_of_an_earlier_round_are_on_the_page_and_those_on_other_samples_kept_for_its_exports(tmp_path):
    corrections = {
        "id": [9, 0, 1, 3],
        "given_label": [0, 0, 1, 0],
        "decision": ["drop", "keep", "relabel", "unsure"],
        "label": ["", "", "2", ""],
    }
    write_page(make_table(4), TEXTS[:4], tmp_path / "p.html", limit=3, corrections=corrections)
    data = read_page_data(tmp_path / "p.html")
    assert data["index"] == [0, 1, 2]
    assert data["decisions"] == ["keep", "relabel", ""]
    assert data["labels"] == [None, 2, None]
    assert data["others"] == [
        {"id": "9", "given_label": "0", "decision": "drop", "label": None},
        {"id": "3", "given_label": "0", "decision": "unsure", "label": None},
    ]


def test_a_correction_to_a_label_that_is_no_class_is_refused(tmp_path):
    corrections = {"id": [0], "decision": ["relabel"], "label": ["x"]}
    with pytest.raises(ValueError, match="row 0: the label of '0' must be a class, got 'x'; name it in classes"):
        write_page(make_table(4), TEXTS[:4], tmp_path / "p.html", corrections=corrections)


@pytest.mark.parametrize(
    ("corrections", "message"),
    [
        (
            [{"id": [0], "decision": [word], "label": [""]} for word in ("drop", "unsure")],
            "row 0: '0' is unsure, but drop in corrections, row 0",
        ),
        (
            {"id": [0], "given_label": [1], "decision": ["keep"], "label": [1]},
            "row 0: '0' had the label '1' when it was judged, and has '0' now",
        ),
    ],
)
def test_corrections_that_contradict_each_other_or_the_given_labels_are_refused(tmp_path, corrections, message):
    with pytest.raises(ValueError, match=message):
        write_page(make_table(4), TEXTS[:4], tmp_path / "p.html", corrections=corrections)
    assert not (tmp_path / "p.html").exists()


def test_key_depends_on_samples_and_given_labels_only(tmp_path):
    path = tmp_path / "p.html"

    def key(table, kind="texts", **options):
        write_page(table, TEXTS if kind == "texts" else photographs(6, 8), path, **options)
        return read_page_data(path)["key"]

    table = make_table(6)
    first = key(table)
    assert re.fullmatch("[0-9a-f]{64}", first)
    reverse = {name: column[::-1] for name, column in table.items()}
    assert key(reverse, limit=2, title="other") == first
    assert key(table | {"predicted_label": table["given_label"]}) == first
    others = [table | {"given_label": table["given_label"][::-1]}, table | {"id": list("abcdef")}]
    assert len({first, *map(key, others), key(table, kind="images")}) == 4


def test_same_input_gives_the_same_bytes(tmp_path):
    images = photographs(3, 80)
    for name in ("a.html", "b.html"):
        write_page(make_table(3), images, tmp_path / name, pruned=np.eye(3, dtype=bool))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


# Refusals


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"index": None}, ValueError, "issues must have a column 'index', got "),
        ({"predicted_label": None}, ValueError, "issues must have a column 'predicted_label'"),
        ({"index": [0, 1, 2, 3, 4, 4]}, ValueError, "index of issues must be distinct, got 4 2 times"),
        ({"index": [0, 1, 2, 3, 4, -1]}, ValueError, "index of issues must be at least 0, got -1"),
        ({"index": [0, 1, 2, 3, 4, 6]}, ValueError, "samples must hold all samples, by index: got 6, but .* index 6"),
        ({"index": np.arange(6.0)}, ValueError, "index of issues must be integers"),
        ({"id": list("aabcde")}, ValueError, "id of issues must be distinct, got 'a' 2 times"),
        ({"id": list("ab")}, ValueError, r"id of issues must have shape \(6,\)"),
        ({"given_label": list("abcdef")}, TypeError, "must both be integers or both be strings"),
        ({"given_label": np.ones(6)}, TypeError, "given_label of issues must be integers or strings, got float64"),
        (
            {"given_label": [7, 0, 0, 9, 0, 0]},
            ValueError,
            r"must lie in \[0, 3\), as there are 3 classes, got 7, 9; name",
        ),
        ({"confidence": np.full(6, 1.5)}, ValueError, r"confidence of issues must be numbers in \[0, 1\]"),
        ({"duplicates": np.zeros(6)}, TypeError, "duplicates of issues must be strings, got float64"),
        ({"label_quality": list("abcdef")}, TypeError, "label_quality of issues must be numbers"),
        ({"loss": np.ones((6, 2))}, ValueError, r"must have shape \(6,\), as index has, got \(6, 2\) for 'loss'"),
        ({"loss": np.ones(6, complex)}, TypeError, "loss of issues must be integers or strings, got complex128"),
    ],
)
def test_wrong_tables_are_refused_and_the_file_is_unchanged(change, error, message, tmp_path):
    path = tmp_path / "p.html"
    path.write_text("old")
    table = {name: column for name, column in (make_table(6) | change).items() if column is not None}
    with pytest.raises(error, match=message):
        write_page(table, TEXTS, path, classes=list("abc"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("samples", "options", "error", "message"),
    [
        (TEXTS, {"kind": "sounds"}, ValueError, "kind must be 'images', 'texts' or 'table', got 'sounds'"),
        (TEXTS, {"limit": 0}, ValueError, "limit must be a whole number, at least 1, or None, got 0"),
        (TEXTS, {"title": 3}, TypeError, "title must be a string, got 3"),
        (TEXTS, {"notes": "one"}, TypeError, "notes must be a sequence of strings, got one string; put it into a list"),
        (TEXTS, {"notes": [1]}, TypeError, "notes must be strings, got 1"),
        (TEXTS, {"classes": "abc"}, TypeError, "classes must be a sequence of strings, got 'abc'"),
        (TEXTS, {"classes": list("aab")}, ValueError, "classes must be distinct, got 'a' 2 times"),
        (
            TEXTS,
            {"pruned": np.ones((2, 5), bool)},
            ValueError,
            r"pruned must be booleans of .*, got bool of shape \(2, 5\)",
        ),
        (TEXTS, {"pruned": np.ones((2, 6))}, ValueError, "pruned must be booleans of shape .*, got float64"),
        (TEXTS[:5], {}, ValueError, "samples must hold all samples, by index: got 5, but issues have index 5"),
        ("abcdef", {}, TypeError, "samples must be .*, got str; kind= says"),
        ("abcdef", {"kind": "texts"}, TypeError, "samples must be a sequence of strings, got str"),
        ([*TEXTS[:5], 3], {}, TypeError, "samples must be strings, got int at index 5"),
        (3, {}, TypeError, "samples must be an array of images, .*, got int"),
        ({}, {}, ValueError, "samples must have at least one column, got none"),
        ({"a": np.ones((6, 2))}, {}, ValueError, r"columns of samples must have shape \(n,\), got \(6, 2\) for 'a'"),
        ({"a": [1, 2]}, {}, ValueError, "samples must hold all samples, by index: got 2"),
        (np.zeros((6, 3, 8, 8), np.uint8), {}, ValueError, r"got \(3, 8, 8\) at index 0; move the channels to the end"),
        (
            np.full((6, 8, 8), 2.0),
            {},
            ValueError,
            r"must lie in \[0, 1\], got 2 to 2 at index 0; undo the normalization",
        ),
        (np.full((6, 8, 8), np.nan), {}, ValueError, r"must lie in \[0, 1\], got nan to nan"),
        (np.zeros((6, 8, 8), int), {}, TypeError, "images must be uint8 or floating-point numbers .*, got int64"),
    ],
)
def test_wrong_samples_and_options_are_refused(samples, options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        write_page(make_table(6), samples, tmp_path / "p.html", **options)
    assert not list(tmp_path.iterdir())


def test_string_labels_must_be_among_the_classes(tmp_path):
    table = make_table(3, given_label=list("abx"), predicted_label=list("aba"))
    with pytest.raises(ValueError, match="labels of issues must be among classes, got 'x'; name all classes"):
        write_page(table, TEXTS[:3], tmp_path / "p.html", classes=["a", "b"])
    write_page(table, TEXTS[:3], tmp_path / "p.html", classes=["y", "x", "b", "a"])
    data = read_page_data(tmp_path / "p.html")
    assert (data["values"], data["given"]) == (["y", "x", "b", "a"], [3, 2, 1])


def test_images_without_pillow_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ModuleNotFoundError, match=r"write_page needs Pillow for images, .*: pip install pillow"):
        write_page(make_table(2), np.zeros((2, 4, 4), np.uint8), tmp_path / "p.html")
    assert write_page(make_table(6), TEXTS, tmp_path / "p.html") == 6


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.html"
    path.write_text("old")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_page(make_table(6), TEXTS, tmp_path / "none" / "p.html")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device; .*p.html was not written"):
        write_page(make_table(6), TEXTS, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_kind_is_inferred_from_samples():
    kinds = {
        "images": [np.zeros((1, 2, 2)), [Path("a.png")], [b"x"], [Image.new("L", (1, 1))], [np.zeros((2, 2))]],
        "texts": [["a"], np.array(["a"]), pd.Series(["a"]), []],
        "table": [{"a": [1]}, pd.DataFrame({"a": [1]})],
    }
    for kind, samples in kinds.items():
        assert [page_samples.infer_kind(item) for item in samples] == [kind] * len(samples)
