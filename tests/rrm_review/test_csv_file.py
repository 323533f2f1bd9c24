from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest

from rrm_review import csv_file, to_csv

HOSTILE = [
    "plain",
    "",
    "comma, and",
    'the "word"',
    '"',
    "two\nlines",
    "carriage\rreturn",
    "ends with\r\n",
    " blanks ",
    "naïve, 😀",
    "semi;colon\ttab",
    "a\u2028b\x0bc\x85d",
    "<script>alert(1)</script>",
    "\udcff.png",
]
FORMULAS = [
    "=1+1",
    "+A1",
    "-A1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1+1",
    "=cmd|'/c calc'!A0",
    '=HYPERLINK("x","y")',
]
NUMBERS = ["-1", "+2.5", "-1e-7", "-inf"]


def read(path):
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def test_file_as_it_is_written(tmp_path):
    issues = {
        "index": np.array([3, 0]),
        "id": np.array(["b", "a,1"]),
        "is_label_issue": np.array([True, False]),
        "label_quality": np.array([0.1, 1], np.float32),
        "given_label": np.array(["", "dog"], object),
        "loss": np.array([2.5, np.nan]),
    }
    to_csv(issues, tmp_path / "issues.csv")
    assert (tmp_path / "issues.csv").read_bytes() == (
        b'index,id,is_label_issue,label_quality,given_label,loss\n3,b,True,0.1,"",2.5\n0,"a,1",False,1,dog,nan\n'
    )


@pytest.mark.parametrize("rows", [1, 3, 8192])
def test_strings_read_back(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "ROWS", rows)
    to_csv({"a,b": HOSTILE, "text": np.array(HOSTILE[::-1], object)}, tmp_path / "t.csv")
    rows = list(zip(HOSTILE, HOSTILE[::-1], strict=True))
    assert read(tmp_path / "t.csv") == [["a,b", "text"], *map(list, rows)]


def test_names_of_files_that_are_not_utf_8_are_written_as_their_bytes(tmp_path):
    to_csv({"id": ["\udcff\udcfe.png", "ü.png"]}, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b"id\n\xff\xfe.png\n\xc3\xbc.png\n"


def test_table_reads_back_by_pandas(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_file, "ROWS", 8192)
    rng = np.random.default_rng(0)
    n = 20_000
    issues = {
        "index": rng.permutation(n),
        "id": np.array([f"train/{i}, {i % 7}.png" for i in range(n)]),
        "is_label_issue": rng.random(n) < 0.2,
        "label_quality": (rng.permutation(n) + 1).astype(np.float32) / np.float32(n),
        "given_label": np.array(["cat", "dog", "frog"])[rng.integers(0, 3, n)],
        "sample_weight": np.where(rng.random(n) < 0.2, 0, 10 / 9).astype(np.float32),
        "loss": (10 ** rng.uniform(-12, 3, n)).astype(np.float32),
        "share_pruned": rng.integers(0, 11, n) / 10,
    }
    to_csv(issues, tmp_path / "issues.csv")
    frame = pd.read_csv(tmp_path / "issues.csv")
    assert list(frame.columns) == list(issues)
    for name, column in issues.items():
        values = frame[name].to_numpy()
        np.testing.assert_array_equal(values.astype(column.dtype) if column.dtype.kind == "f" else values, column)


def test_table_without_rows_has_a_header(tmp_path):
    to_csv({"index": np.arange(0), "id": [], "loss": np.empty(0)}, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_bytes() == b"index,id,loss\n"


@pytest.mark.parametrize("column", [np.array([7, 7, 7]), np.array([0.1, 0.1, 0.1]), np.array([True, True, False])])
def test_column_without_distinct_values(column, tmp_path):
    to_csv({"only": column}, tmp_path / "t.csv")
    assert [row[0] for row in read(tmp_path / "t.csv")[1:]] == [str(value) for value in column.tolist()]


def test_very_long_string_needs_memory_for_few_rows(tmp_path, monkeypatch):
    widths = []
    join = csv_file._join
    monkeypatch.setattr(csv_file, "MAX_BYTES", 100_000)
    monkeypatch.setattr(csv_file, "_join", lambda columns: widths.append(len(columns[0])) or join(columns))
    texts = ["short"] * 500 + ["x" * 50_000, "last"]
    to_csv({"id": texts, "index": np.arange(502)}, tmp_path / "t.csv")
    assert [row[0] for row in read(tmp_path / "t.csv")[1:]] == texts
    assert max(widths) <= 2


def test_formulas_are_escaped_on_request(tmp_path):
    texts = [*FORMULAS, *NUMBERS, "a=1", "", "'=1"]
    to_csv({"text": texts}, tmp_path / "t.csv", escape_formulas=True)
    escaped = [f"'{text}" for text in FORMULAS] + [*NUMBERS, "a=1", "", "'=1"]
    assert [row[0] for row in read(tmp_path / "t.csv")[1:]] == escaped


def test_formulas_are_written_as_they_are_with_a_warning(tmp_path):
    texts = [*FORMULAS, *NUMBERS, "=1+1"]
    with pytest.warns(UserWarning, match=r"11 strings of issues may be executed .*, such as '=1\+1'; esc"):
        to_csv({"text": texts}, tmp_path / "t.csv")
    assert [row[0] for row in read(tmp_path / "t.csv")[1:]] == texts


@pytest.mark.parametrize(
    ("issues", "error", "message"),
    [
        ({}, ValueError, "issues must have at least one column"),
        ({"a": [1, 2], "b": [1]}, ValueError, r"of one length, got shape \(1,\) for 'b' and \(2,\) for the first"),
        ({"a": np.eye(2)}, ValueError, r"must be one-dimensional and of one length, got shape \(2, 2\) for 'a'"),
        (
            {"a": np.array(["2026-01-01"], "M8[D]")},
            TypeError,
            r"'a' of issues must be .*, got datetime64\[D\]",
        ),
        ({"a": np.ones(1, np.longdouble)}, TypeError, "column 'a' of issues must be .*, got float128"),
        ({"a": [b"x"]}, TypeError, "column 'a' of issues must be .*, got [|]S1"),
        (
            {"a": np.array(["x", 1, None], object)},
            TypeError,
            "'a' of issues must be strings, .* got NoneType, int",
        ),
        ({"a": np.array(["x", []], object)}, TypeError, "column 'a' of issues must be strings, .* got list"),
        ({"a": np.array(["x\0"], object)}, ValueError, "column 'a' of issues must be strings without NUL"),
        (
            {"a": ["\ud800"]},
            ValueError,
            r"column 'a' of issues must be .* UTF-8 .*, got one with '\\ud800'",
        ),
    ],
)
def test_wrong_columns_are_refused_and_the_file_is_unchanged(issues, error, message, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(error, match=message):
        to_csv(issues, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_is_missing_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        to_csv({"a": [1]}, tmp_path / "none" / "t.csv")
