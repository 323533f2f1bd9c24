"""Columns are read by their names, whatever their order and the texts in them."""

from __future__ import annotations

import lzma

import pytest

from experiments.data.text_columns import read_columns


def test_columns_are_read_by_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,text,label\n1,"a ""b"",\nc",x\n2,é,y\n', encoding="utf-8")
    assert read_columns(path, ("label", "text")) == {"label": ["x", "y"], "text": ['a "b",\nc', "é"]}


def test_compressed_files_are_read(tmp_path):
    path = tmp_path / "a.tsv.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("id\ttext\n1\ta, b\n")
    assert read_columns(path, ("text",), "\t") == {"text": ["a, b"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,label\n1,0\n", r"a\.csv must have the columns id, text, lacks text"),
        (b"", r"lacks id, text"),
        (b"id,text\n1,a\n2\n", r"must have 2 columns, got 1 in row 2"),
        (b"id,text\n", r"must have rows, got none"),
        (b"id,text\n1,\xff\n", r"a\.csv can't be read: 'utf-8' codec"),
    ],
)
def test_other_files_are_rejected(content, message, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_columns(path, ("id", "text"))


@pytest.mark.parametrize("content", [b"id,text\n1,a\n", lzma.compress(b"id,text\n1,a\n" * 99)[:-20]])
def test_damaged_compression_is_rejected(content, tmp_path):
    path = tmp_path / "a.csv.xz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.csv\.xz can't be read: "):
        read_columns(path, ("id", "text"))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*b\.csv'; it must have the columns id"):
        read_columns(tmp_path / "b.csv", ("id",))
