"""Which column of a table is what."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rrm_torch.find.readers.labelled_data import LeftOut, ReadOptions
from rrm_torch.find.readers.sources import read_labelled

N = 6
LABELS = ["a", "b"] * 3
UNUSED = "Columns that are no features, as they are empty, or hold dates, lists or a different text in each row"
SENTENCES = [f"This is the sentence number {i}." for i in range(N)]


def write(folder, columns, name="data.csv", delimiter="\t"):
    path = folder / name
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    path.write_text("\n".join(delimiter.join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    return path


def read(folder, columns, **options):
    return read_labelled(write(folder, {"label": LABELS, **columns}), ReadOptions(**options))


@pytest.mark.parametrize(
    "name", ["text", "Sentence", "question", "review", "content", "message", "comment", "title", "anything"]
)
def test_columns_of_texts(name, tmp_path):
    data = read(tmp_path, {name: SENTENCES, "length": range(N)})
    assert (data.kind, data.samples) == ("texts", SENTENCES)
    assert data.notes == [f"The samples are the texts of the column '{name}'; not used: 'length'."]


def test_short_texts_by_name(tmp_path):
    assert read(tmp_path, {"text": list("uvwxyz"), "x": range(N)}).kind == "texts"


def test_repeated_texts_by_name(tmp_path):
    assert read(tmp_path, {"text": SENTENCES[:2] * 3}).kind == "texts"


@pytest.mark.parametrize(
    "columns",
    [{"title": ["Mr", "Mrs"] * 3, "x": range(N)}, {"review": range(N)}, {"words": list("uvwxyz"), "x": range(N)}],
    ids=["few short values", "numbers", "short values"],
)
def test_columns_that_are_no_texts(columns, tmp_path):
    assert read(tmp_path, columns).kind == "table"


def test_one_of_several_columns_of_texts(tmp_path):
    columns = {"title": SENTENCES, "text": SENTENCES[::-1]}
    assert read(tmp_path, columns).samples == SENTENCES[::-1]
    assert read(tmp_path, columns, text="title").samples == SENTENCES
    columns = {"premise": SENTENCES, "hypothesis": SENTENCES[::-1]}
    with pytest.raises(ValueError, match="has several columns of texts: premise, hypothesis; pass the name of one"):
        read(tmp_path, columns)
    assert read(tmp_path, columns, text="premise").samples == SENTENCES


def test_other_cells_become_texts(tmp_path):
    path = tmp_path / "data.jsonl"
    cells = ['"a"', "1", "[1, 2]", "null", "NaN"]
    lines = [f'{{"x": {cell}, "label": "{"aabba"[i]}"}}' for i, cell in enumerate(cells)]
    path.write_text("\n".join([*lines, '{"x": "c", "label": "b"}']), encoding="utf-8")
    data = read_labelled(path, ReadOptions(text="x"))
    assert data.samples == ["a", "1", "[1, 2]", "c"]
    assert data.left_out == [LeftOut(3, "no text"), LeftOut(4, "no text")]


def test_empty_texts_are_left_out(tmp_path):
    data = read(tmp_path, {"text": [*SENTENCES[:-1], " "]})
    assert len(data.samples) == N - 1
    assert data.left_out == [LeftOut(5, "no text")]
    with pytest.raises(ValueError, match=r"column 'note' of .* must have texts, got empty cells only"):
        read(tmp_path, {"note": [""] * N, "x": range(N)}, text="note")


def test_tables_of_numbers_and_categories(tmp_path):
    data = read(
        tmp_path,
        {
            "id": range(N),
            "filename": [f"f{i}" for i in range(N)],
            "number": [" 1", "2.5", "", "NA", "?", "-1e3"],
            "infinite": ["inf", *range(5)],
            "colour": ["red", "blue", "", " red", "red", "blue"],
            "code": ["01", "1x", "01", "1x", "", "01"],
            "empty": [""] * N,
        },
    )
    assert data.kind == "table"
    assert list(data.samples.columns) == ["number", "infinite", "colour", "code"]
    np.testing.assert_array_equal(data.samples["number"], [1, 2.5, np.nan, np.nan, np.nan, -1000])
    np.testing.assert_array_equal(data.samples["infinite"], [np.nan, 0, 1, 2, 3, 4])
    assert data.samples["colour"].cat.categories.tolist() == ["blue", "red"]
    assert data.samples["colour"].isna().tolist() == [False, False, True, False, False, False]
    assert data.ids.tolist() == [str(i) for i in range(N)]
    assert data.notes == [
        "Identifiers are no features: 'filename'.",
        f"{UNUSED}: 'empty'.",
        "Infinite numbers are read as missing in the columns 'infinite'.",
    ]


def test_strings_that_nearly_all_differ_are_no_categories(tmp_path):
    n = 30
    columns = {"label": LABELS * 5, "surname": [f"n{i}" for i in range(n)], "x": [1] * n}
    data = read_labelled(write(tmp_path, columns))
    assert list(data.samples.columns) == ["x"]
    assert "'surname'" in data.notes[0]


@pytest.mark.parametrize(("delimiter", "is_number"), [(";", True), ("\t", False)])
def test_decimal_commas(delimiter, is_number, tmp_path):
    path = write(tmp_path, {"label": LABELS, "x": ["1,5", "2", "-3,25", "", "0", "1"]}, delimiter=delimiter)
    data = read_labelled(path)
    assert (data.samples["x"].dtype == np.float64) is is_number
    if is_number:
        np.testing.assert_array_equal(data.samples["x"], [1.5, 2, -3.25, np.nan, 0, 1])


def test_row_numbers_are_no_features(tmp_path):
    n = 20
    columns = {"": range(n), "count": range(5, 5 + n), "even": range(0, 2 * n, 2), "x": [0, 1, 1, 0] * 5}
    data = read_labelled(write(tmp_path, {**columns, "label": LABELS[:2] * 10}))
    assert list(data.samples.columns) == ["even", "x"]
    assert data.notes == ["Identifiers are no features: 'column 1', 'count'."]


def test_copies_of_the_labels_are_no_features(tmp_path):
    n = 20
    columns = {"label": ["a", "b"] * 10, "name": ["A", "B"] * 10, "code": [7, 8] * 10}
    nearly = {"nearly": ["A", "B"] * 9 + ["B", "A"], "finer": ["u", "v", "w", "v"] * 5}
    data = read_labelled(write(tmp_path, {**columns, **nearly}))
    assert (len(data.labels), list(data.samples.columns)) == (n, ["nearly", "finer"])
    assert data.notes == [
        "Columns with one value for each class are copies of the labels, and no features: name, code."
    ]
    with pytest.raises(ValueError, match=r"data\.csv has no feature columns but copies of the labels: name, code"):
        read_labelled(write(tmp_path, columns))


@pytest.mark.parametrize(
    "name", ["id", "ID", "idx", "index", "user_id", "userId", "user ID", "file", "filename", "path", "name"]
)
def test_usual_names_of_identifiers(name, tmp_path):
    ids = [f"0{i}" for i in range(N)]
    assert read(tmp_path, {name: ids, "x": range(N)}).ids.tolist() == ids


def test_repeated_identifiers(tmp_path):
    data = read(tmp_path, {"id": [1] * N, "x": range(N)})
    assert data.ids.tolist() == list(range(N))
    assert data.notes == [
        "The column 'id' has repeated or empty values: samples are identified by row number.",
        "Identifiers are no features: 'id'.",
    ]
    data = read(tmp_path, {"name": ["u", "v"] * 3, "x": range(N)})
    assert (data.ids.tolist(), list(data.samples.columns)) == (list(range(N)), ["name", "x"])
    data = read(tmp_path, {"name": ["u", "v"] * 3, "x": range(N)}, id_column="name")
    assert (data.ids.tolist(), list(data.samples.columns)) == (["u", "v"] * 3, ["x"])
    assert data.notes == ["The id column 'name' has repeated or empty values."]


def test_dropped_columns(tmp_path):
    data = read(tmp_path, {"x": range(N), "y1": range(N), "y2": range(N)}, drop_columns=("y*",))
    assert list(data.samples.columns) == ["x"]
    with pytest.raises(ValueError, match=r"has no feature columns; its columns are 'label', 'x'"):
        read(tmp_path, {"x": range(N)}, drop_columns=("x",))


def test_forced_kinds(tmp_path):
    columns = {"text": SENTENCES, "x": range(N), "z": [0.5] * N, "colour": ["red", "blue"] * 3}
    data = read(tmp_path, columns, kind="table")
    assert (data.kind, list(data.samples.columns)) == ("table", ["text", "x", "z", "colour"])
    data = read(tmp_path, columns, kind="features")
    assert (data.kind, data.samples.shape, data.samples.dtype) == ("features", (N, 2), np.float32)
    with pytest.raises(ValueError, match=r"has no columns of numbers; its columns are 'label', 'text'"):
        read(tmp_path, {"text": SENTENCES}, kind="features")


def test_columns_of_image_files(tmp_path):
    (tmp_path / "pictures").mkdir()
    names = [f"pictures/{i}.png" for i in range(N)]
    for name in names[1:]:
        Image.new("L", (2, 2)).save(tmp_path / name)
    for column in ("image", "path"):
        data = read(tmp_path, {column: names, "x": range(N)})
        assert data.kind == "images"
        assert data.samples == [tmp_path / name for name in names[1:]]
        assert data.ids.tolist() == names[1:]
        assert data.left_out == [LeftOut("pictures/0.png", "image file doesn't exist")]
    data = read(tmp_path, {"image": names, "id": range(10, 10 + N)})
    assert data.ids.tolist() == [str(i) for i in range(11, 10 + N)]


@pytest.mark.parametrize("names", [["none.png"] * N, ["a.txt"] * N, [""] * N])
def test_columns_without_existing_image_files_are_no_images(names, tmp_path):
    assert read(tmp_path, {"image": names, "x": range(N)}).kind == "table"
