"""JSON Lines and JSON lists."""

from __future__ import annotations

import lzma

import pytest

from rrm_torch.find.readers.json_lines import read_json
from rrm_torch.find.readers.sources import read_labelled

LINES = '{"text": "a\u2028b", "label": 1}\n\n{"text": "c", "label": null, "vector": [1, 2]}\n'


@pytest.mark.parametrize("name", ["data.jsonl", "data.ndjson", "data.json"])
def test_one_object_per_line(name, tmp_path):
    (tmp_path / name).write_text(LINES, encoding="utf-8")
    table = read_json(tmp_path / name)
    assert table.columns["text"].tolist() == ["a\u2028b", "c"]
    assert table.columns["label"].tolist() == [1, None]
    assert table.columns["vector"].tolist() == [None, [1, 2]]
    assert table.notes == ["Some objects lack keys, which are empty there: 'vector'."]


def test_a_list_of_objects(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(' [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]', encoding="utf-8")
    assert read_json(path).columns["y"].tolist() == ["a", "b"]


def test_compressed_lines_are_read_as_texts(tmp_path):
    path = tmp_path / "data.jsonl.xz"
    lines = [f'{{"text": "text {i}", "label": "{"ab"[i % 2]}"}}' for i in range(4)]
    path.write_bytes(lzma.compress("\n".join(lines).encode()))
    data = read_labelled(path)
    assert (data.kind, data.name) == ("texts", "data.jsonl.xz")
    assert data.samples == [f"text {i}" for i in range(4)]


@pytest.mark.parametrize(("start", "ids"), [(5, [5, 6, 7, 8]), (2**63 - 2, [str(2**63 - 2 + i) for i in range(4)])])
def test_integers_as_identifiers(start, ids, tmp_path):
    path = tmp_path / "data.jsonl"
    lines = [f'{{"id": {start + i}, "text": "text {i}", "label": {i % 2}}}' for i in range(4)]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert read_labelled(path).ids.tolist() == ids


def test_halves_of_surrogate_pairs_are_replaced(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(r'{"text": "\ud83d\ude00 \ud83d", "list": ["\udc00", 1]}', encoding="utf-8")
    columns = read_json(path).columns
    assert columns["text"].tolist() == ["\N{GRINNING FACE} \N{REPLACEMENT CHARACTER}"]
    assert columns["list"].tolist() == [["\N{REPLACEMENT CHARACTER}", 1]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"x": 1}\n{"x": }\n', r"data\.json, line 2 isn't valid JSON: Expecting value \(column 7\)"),
        ('{"x": 1}\n[1]\n', r"data\.json, line 2 must be an object such as .*, got list"),
        ('[{"x": 1},\n {"x": ]', r"data\.json isn't valid JSON: Expecting value \(line 2, column 8\)"),
        ('[{"x": 1}, 2]', r"data\.json must be a list of objects, got int at index 1"),
        ("[]", r"data\.json has no objects"),
        ('{"x": ' + "[" * 100_000, r"data\.json, line 1 can't be read as JSON: .*recursion"),
        ('{"x": ' + "1" * 5000 + "}", r"data\.json, line 1 can't be read as JSON: Exceeds the limit"),
    ],
    ids=["line", "no object", "list", "list of others", "empty", "deep", "long number"],
)
def test_damaged_files(content, message, tmp_path):
    path = tmp_path / "data.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_json(path)
