"""Delimited text: delimiters, cells as they are written, and damaged files."""

from __future__ import annotations

import pytest

from rrm_torch.find.readers.labelled_data import LeftOut, ReadOptions
from rrm_torch.find.readers.sources import read_labelled
from rrm_torch.find.readers.tables import read_csv


def write(folder, content, name="data.csv"):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_recognised(delimiter, tmp_path):
    path = write(tmp_path, '"a, b; c","label","x"\r\n"1, 2; 3","u\nv","4"\r\n'.replace('","', f'"{delimiter}"'))
    table = read_csv(path)
    assert {name: cells.tolist() for name, cells in table.columns.items()} == {
        "a, b; c": ["1, 2; 3"],
        "label": ["u\nv"],
        "x": ["4"],
    }


def test_the_delimiter_may_be_stated_for_excel(tmp_path):
    table = read_csv(write(tmp_path, "sep=;\r\na,b;label\r\n1,2;x\r\n"))
    assert list(table.columns) == ["a,b", "label"]


def test_cells_stay_as_they_are_written(tmp_path):
    path = write(tmp_path, "id,label,x\n007,NA,1.50\n008,null,\n\n009,None,nan\n")
    table = read_csv(path)
    assert table.n_rows == 3
    assert table.columns["id"].tolist() == ["007", "008", "009"]
    assert table.columns["label"].tolist() == ["NA", "null", "None"]
    assert table.columns["x"].tolist() == ["1.50", "", "nan"]


def test_missing_cells_at_the_end_of_a_row_are_empty(tmp_path):
    table = read_csv(write(tmp_path, "a,b,c\n1,2,3\n4\n"))
    assert table.columns["c"].tolist() == ["3", ""]


def test_one_column_keeps_its_empty_cells(tmp_path):
    table = read_csv(write(tmp_path, "label\na\n\nb\n"))
    assert table.columns["label"].tolist() == ["a", "", "b"]


def test_columns_get_distinct_names(tmp_path):
    table = read_csv(write(tmp_path, " a ,a,,a\n1,2,3,4\n"))
    assert list(table.columns) == ["a", "a (2)", "column 3", "a (3)"]
    assert table.notes == ["Columns whose name is repeated are renamed: 'a (2)', 'a (3)'."]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,label\n1,2\n3,4,5\n", r"data\.csv: line 3 has 3 cells, and the first line names 2 columns; put cells"),
        ("a,label\n1,2,3\n4,5,6\n", "line 2 has 3 cells, and the first line names 2 columns"),
        ('a,label\n1,"2\n3,4\n', r"data\.csv: a double quote that opens in row 2 isn't closed"),
        ("a,label\n", "has no rows below its first line, which names the columns: a, label"),
        ("a" * 5000 + "\n", f"which names the columns: {'a' * 99}…$"),
    ],
)
def test_damaged_files(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_csv(write(tmp_path, content))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "a,b",
            r"has no column called label, .*; pass .* --label NAME\. Its columns are, by its first line, 'a', 'b'",
        ),
        ("label,Target", "has several columns that may be the labels; pass the name of one, --label NAME"),
    ],
)
def test_the_label_column_must_be_known(header, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_labelled(write(tmp_path, f"{header}\n1,2\n"))


def test_many_columns_are_named_in_part(tmp_path):
    header = ",".join(f"c{i}" for i in range(25))
    with pytest.raises(ValueError, match=r"'c19' and 5 more$"):
        read_labelled(write(tmp_path, f"{header}\n{header}\n"))


@pytest.mark.parametrize("name", ["label", "Labels", "CLASS", "target", "y", "category"])
def test_usual_names_of_labels(name, tmp_path):
    data = read_labelled(write(tmp_path, f"x,{name}\n1,a\n2,b\n3,a\n4,b\n"))
    assert data.classes == ("a", "b")


def test_missing_labels_are_left_out(tmp_path):
    data = read_labelled(write(tmp_path, "id,x,label\n007,1,a\n008,2,\n009,3,b\n010,4,a\n011,5,b\n"))
    assert data.ids.tolist() == ["007", "009", "010", "011"]
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert data.samples["x"].tolist() == [1.0, 3.0, 4.0, 5.0]
    assert data.left_out == [LeftOut("008", "no label")]
    assert data.notes == ["Samples left out: 1 (no label)."]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"label": "z"}, r"label must be a column of .*data\.csv, got 'z'; its columns are 'id', 'x', 'label'"),
        ({"text": "z"}, "text must be a column of .*, got 'z'"),
        ({"id_column": "z"}, "id_column must be a column of .*, got 'z'"),
        ({"drop_columns": ("z*",)}, r"drop_columns must be columns of .*, got 'z\*', which matches none"),
        ({"features": ("z*",)}, r"features must be columns of .*, got 'z\*', which matches none"),
        ({"split": "train"}, "has no column split, got split 'train'"),
        ({"kind": "probabilities"}, "needs the columns of the model's scores; pass their names, --logits"),
        ({"kind": "images"}, "has no column of images or of names of existing image files"),
        ({"kind": "texts"}, "has no column of texts; pass its name, --text NAME"),
    ],
)
def test_options_that_do_not_fit(option, message, tmp_path):
    path = write(tmp_path, "id,x,label\n1,1,a\n2,2,b\n3,3,a\n4,4,b\n")
    with pytest.raises(ValueError, match=message):
        read_labelled(path, ReadOptions(**option))


def test_one_split_of_a_table(tmp_path):
    path = write(tmp_path, "split,x,label\n" + "train,1,a\ntrain,2,b\ntest,3,c\n" * 2)
    data = read_labelled(path, ReadOptions(split="train"))
    assert data.classes == ("a", "b")
    assert data.ids.tolist() == [0, 1, 3, 4]
    assert list(data.samples.columns) == ["x"]
    assert {left_out.reason for left_out in data.left_out} == {"not in the split train"}
    assert len(read_labelled(path).samples) == 6
    with pytest.raises(ValueError, match="split must be in the column 'split', got 'dev'; it has test, train"):
        read_labelled(path, ReadOptions(split="dev"))
