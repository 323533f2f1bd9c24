from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from rrm_review import apply_corrections

LABELS = ["cat", "dog", "dog", "horse"]
IDS = ["a.png", "b.png", "c.png", "d.png"]
ROWS = [
    ("a.png", "cat", "keep", "cat"),
    ("b.png", "dog", "relabel", "cat"),
    ("c.png", "dog", "drop", ""),
    ("d.png", "horse", "unsure", ""),
]
COLUMNS = ("id", "given_label", "decision", "label")


def write_csv(path, rows, header=COLUMNS, separator=",", encoding="utf-8"):
    lines = [separator.join(cells) for cells in (header, *rows)]
    path.write_text("\n".join([*lines, ""]), encoding=encoding)
    return path


def write_json(path, rows):
    decisions = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    path.write_text(json.dumps({"format": "rrm corrections", "version": 1, "decisions": decisions}), encoding="utf-8")
    return path


def table(rows):
    return {name: [row[column] for row in rows] for column, name in enumerate(COLUMNS)}


# Applying


@pytest.mark.parametrize("source", ["csv", "json", "table"])
def test_labels_decisions_and_samples_that_remain(tmp_path, source):
    corrections = {
        "csv": lambda: write_csv(tmp_path / "corrections.csv", ROWS),
        "json": lambda: write_json(tmp_path / "corrections.json", ROWS),
        "table": lambda: table(ROWS),
    }[source]()
    corrected = apply_corrections(LABELS, corrections, ids=IDS)
    assert corrected.labels.tolist() == ["cat", "cat", "dog", "horse"]
    assert corrected.retained.tolist() == [0, 1, 3]
    assert corrected.dropped.tolist() == [2]
    assert corrected.decisions.tolist() == ["keep", "relabel", "drop", "unsure"]
    assert corrected.n_changed == 1


def test_integer_labels_stay_integers_and_indices_are_the_ids(tmp_path):
    labels = np.array([0, 1, 2, 1], np.int32)
    path = write_csv(tmp_path / "corrections.csv", [("3", "1", "relabel", "2")])
    corrected = apply_corrections(labels, path)
    assert corrected.labels.tolist() == [0, 1, 2, 2]
    assert corrected.labels.dtype == np.int64
    assert labels.tolist() == [0, 1, 2, 1]


def test_no_corrections_change_nothing(tmp_path):
    corrected = apply_corrections(LABELS, write_csv(tmp_path / "corrections.csv", []), ids=IDS)
    assert corrected.labels.tolist() == LABELS
    assert corrected.retained.tolist() == [0, 1, 2, 3]
    assert corrected.n_changed == 0
    assert corrected.decisions.tolist() == [""] * 4


def test_applying_twice_gives_the_same_labels():
    once = apply_corrections(LABELS, table(ROWS), ids=IDS)
    twice = apply_corrections(once.labels, table(ROWS), ids=IDS)
    np.testing.assert_array_equal(once.labels, twice.labels)
    np.testing.assert_array_equal(once.retained, twice.retained)


def test_a_new_label_may_be_longer_than_the_others():
    corrected = apply_corrections(np.array(["a", "b"]), table([("0", "a", "relabel", "longer")]), classes=["longer"])
    assert corrected.labels.tolist() == ["longer", "b"]


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [(["0", "1"], np.array(["0", "2"]), "2"), ([0, 1], np.array([0, 2]), 2), ([0, 1], range(3), 2)],
)
def test_classes_beside_the_labels_may_be_an_array_and_keep_the_type(labels, classes, expected):
    corrections = {"id": [0, 1], "decision": ["relabel", "relabel"], "label": ["2", "0"]}
    corrected = apply_corrections(labels, corrections, classes=classes).labels.tolist()
    assert corrected == [expected, labels[0]]
    assert [type(label) for label in corrected] == [type(expected)] * 2


@pytest.mark.parametrize(("labels", "classes"), [([0, 1], ["cat", "dog"]), (["0", "1"], range(2))])
def test_classes_of_another_type_than_the_labels_are_refused(labels, classes):
    with pytest.raises(TypeError, match=r"classes must be (integers|strings), as labels are, not (strings|integers)"):
        apply_corrections(labels, table([]), classes=classes)


def test_persons_agree_whether_or_not_they_repeat_the_given_label():
    corrections = [table([("0", "cat", "keep", label)]) for label in ("cat", "")]
    assert apply_corrections(["cat"], corrections).decisions.tolist() == ["keep"]


def test_json_with_a_byte_order_mark(tmp_path):
    path = write_json(tmp_path / "corrections.json", ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert apply_corrections(LABELS, path, ids=IDS).dropped.tolist() == [2]


def test_missing_cells_of_a_table_are_empty():
    nan = float("nan")
    corrections = {"id": [0, 1], "decision": ["drop", "keep"], "label": [nan, "a"], "given_label": ["a", nan]}
    assert apply_corrections(["a", "a"], corrections).decisions.tolist() == ["drop", "keep"]


def test_several_persons_may_agree():
    corrected = apply_corrections(LABELS, [table(ROWS[:2]), table(ROWS[1:])], ids=IDS)
    assert corrected.decisions.tolist() == ["keep", "relabel", "drop", "unsure"]


# Files


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16")])
def test_file_as_a_spreadsheet_saves_it(tmp_path, separator, encoding):
    path = write_csv(tmp_path / "corrections.csv", [*ROWS, ("", "", "", "")], separator=separator, encoding=encoding)
    assert apply_corrections(LABELS, path, ids=IDS).labels.tolist() == ["cat", "cat", "dog", "horse"]


@pytest.mark.parametrize(
    ("cell", "sample_id"),
    [
        ("'=1+1", "=1+1"),
        ("''=1+1", "'=1+1"),
        ("-1", "-1"),
        ("'-1", "'-1"),
        ("''-1", "'-1"),
        ("'''-1", "''-1"),
        ("'quoted'", "'quoted'"),
        ("'@x", "@x"),
    ],
)
def test_apostrophe_before_a_formula_is_removed(tmp_path, cell, sample_id):
    path = write_csv(tmp_path / "corrections.csv", [(cell, "cat", "drop", "")])
    assert apply_corrections(["cat"], path, ids=[sample_id]).dropped.tolist() == [0]


def test_json_is_read_as_it_is(tmp_path):
    path = write_json(tmp_path / "corrections.json", [("'=1+1", "cat", "drop", "")])
    assert apply_corrections(["cat", "cat"], path, ids=["=1+1", "'=1+1"]).dropped.tolist() == [1]


def test_decisions_in_upper_case_are_read():
    assert apply_corrections(["cat"], {"id": [0], "decision": ["Drop "], "label": [""]}).dropped.tolist() == [0]


# Refusals


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("x.png", "cat", "drop", "")], "no sample has the id 'x.png'"),
        ([("a.png", "dog", "drop", "")], "'a.png' had the label 'dog' when it was judged, and has 'cat' now"),
        ([("a.png", "cat", "relabel", "cow")], "'a.png' gets the label 'cow', which no sample has; name it in classes"),
        ([ROWS[1], ("b.png", "dog", "drop", "")], "'b.png' is drop, but relabel 'cat' in corrections, row 0"),
        ([ROWS[1], ("b.png", "dog", "relabel", "horse")], "'b.png' is relabel 'horse', but relabel 'cat'"),
    ],
)
def test_corrections_that_do_not_fit_are_refused_by_name(rows, message):
    with pytest.raises(ValueError, match=message):
        apply_corrections(LABELS, table(rows), ids=IDS)


def test_the_first_five_problems_are_named_and_the_others_counted():
    rows = [(f"{number}.png", "cat", "drop", "") for number in range(7)]
    with pytest.raises(ValueError, match=r"'0\.png'.*'4\.png'; and 2 more$") as caught:
        apply_corrections(LABELS, table(rows), ids=IDS)
    assert "5.png" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a.png", "cat", "maybe", "")], "decision must be keep, relabel, drop or unsure, got 'maybe'"),
        ([("a.png", "cat", "relabel", "")], "relabel needs a label, got none for 'a.png'"),
        ([("a.png", "cat", "keep", "dog")], "keep must have the given label 'cat', got 'dog'"),
    ],
)
def test_a_decision_that_contradicts_itself_is_refused_with_its_row(tmp_path, rows, message):
    with pytest.raises(ValueError, match=rf"corrections\.csv, row 2: {message}"):
        apply_corrections(LABELS, write_csv(tmp_path / "corrections.csv", rows), ids=IDS)


def test_a_data_frame_is_a_table():
    corrected = apply_corrections(LABELS, pd.DataFrame(table(ROWS)), ids=IDS)
    assert corrected.labels.tolist() == ["cat", "cat", "dog", "horse"]


def test_a_file_in_another_encoding_is_pointed_out(tmp_path):
    path = write_csv(tmp_path / "corrections.csv", [("0", "rot", "relabel", "gr\u00fcn")], encoding="cp1252")
    with pytest.raises(ValueError, match="bytes that aren't UTF-8: if a spreadsheet saved the file, save it as CSV in"):
        apply_corrections(["rot", "gr\u00fcn"], path)


def test_ids_that_repeat_are_refused():
    with pytest.raises(ValueError, match=r"ids must differ from sample to sample, got 'a\.png' more than once"):
        apply_corrections(LABELS, table(ROWS), ids=["a.png", "b.png", "a.png", "d.png"])


def test_a_table_without_a_column_is_refused():
    with pytest.raises(ValueError, match=r"corrections must have the columns id, .*, got none called 'decision'"):
        apply_corrections(LABELS, {"id": [0], "label": ["cat"]})


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="the columns of corrections must have one length"):
        apply_corrections(LABELS, {"id": [0], "decision": ["drop"], "label": []})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.csv", "id,what\n0,drop\n", "c.csv has no columns id, decision and label, its first line is 'id,what'"),
        ("c.json", "{", "c.json isn't JSON in UTF-8"),
        ("c.json", "3", "c.json must hold a list of decisions"),
        ("c.json", '[{"id": 0, "label": ""}]', "c.json, decision 1 has no 'decision'"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        apply_corrections(LABELS, tmp_path / name)


def test_a_missing_file_raises_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        apply_corrections(LABELS, tmp_path / "corrections.csv")
