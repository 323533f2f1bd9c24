from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rrm_review import to_parquet
from support.issue_tables import first_rows, issue_table


def test_columns_keep_their_values_types_and_order(tmp_path):
    issues = issue_table(ids=np.array([2**64 - 1, 0, 1, 2], np.uint64)) | {"text": ["a\0", "", "\n", "'=1+1"]}
    to_parquet(issues, tmp_path / "issues.parquet")
    table = pq.read_table(tmp_path / "issues.parquet")
    assert table.column_names == list(issues)
    for name, column in issues.items():
        np.testing.assert_array_equal(table[name].to_numpy(), column)
    types = {name: str(table.schema.field(name).type) for name in ("index", "id", "is_label_issue", "loss", "text")}
    assert types == {"index": "int64", "id": "uint64", "is_label_issue": "bool", "loss": "float", "text": "string"}
    frame = pd.read_parquet(tmp_path / "issues.parquet")
    assert frame["given_label"].tolist() == issues["given_label"].tolist()


def test_no_rows_keep_the_types(tmp_path):
    to_parquet(first_rows(issue_table(), 0), tmp_path / "issues.parquet")
    table = pq.read_table(tmp_path / "issues.parquet")
    assert table.num_rows == 0
    assert str(table.schema.field("given_label").type) == "string"


@pytest.mark.parametrize(
    ("issues", "error", "message"),
    [
        ({}, ValueError, "issues must have at least one column"),
        ({"a": [1, 2], "b": [1]}, ValueError, "must be one-dimensional and of one length"),
        ({"a": [1j]}, TypeError, "column 'a' of issues must be booleans, integers"),
        ({"a": np.array(["b", None])}, TypeError, "column 'a' of issues must be strings, got NoneType among them"),
        ({"a": ["\udcff"]}, ValueError, "column 'a' of issues must be strings that UTF-8 can represent"),
    ],
)
def test_wrong_arguments_are_refused_and_the_file_stays(tmp_path, issues, error, message):
    path = tmp_path / "issues.parquet"
    path.write_bytes(b"old")
    with pytest.raises(error, match=message):
        to_parquet(issues, path)
    assert path.read_bytes() == b"old"


def test_without_pyarrow_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ModuleNotFoundError, match=r"to_parquet needs pyarrow, .*: pip install pyarrow"):
        to_parquet(issue_table(), tmp_path / "issues.parquet")
