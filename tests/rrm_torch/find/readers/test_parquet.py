"""Parquet files: types, vectors, images and class names."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rrm_torch.find.readers.labelled_data import LeftOut, ReadOptions
from rrm_torch.find.readers.sources import read_labelled


def write(folder, columns, metadata=None):
    path = folder / "data.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def test_typed_columns(tmp_path):
    path = write(
        tmp_path,
        {
            "id": [4, 3, 2, 1],
            "x": pa.array([1, None, 3, 4], pa.int64()),
            "is_new": pa.array([True, False, None, True]),
            "colour": pa.array(["red", "blue", None, "red"]).dictionary_encode(),
            "when": pa.array([0, 1, 2, 3], pa.timestamp("s")),
            "label": pa.array([0, 1, 1, 0], pa.int8()),
        },
    )
    data = read_labelled(path)
    assert (data.kind, data.classes, data.ids.tolist()) == ("table", ("0", "1"), [4, 3, 2, 1])
    assert data.ids.dtype == np.int64
    assert list(data.samples.columns) == ["x", "is_new", "colour"]
    np.testing.assert_array_equal(data.samples["x"], [1, np.nan, 3, 4])
    np.testing.assert_array_equal(data.samples["is_new"], [1, 0, np.nan, 1])
    assert data.samples["colour"].dtype == "category"
    assert data.notes == [
        "Columns that are no features, as they are empty, or hold dates, lists or a different text in each row: 'when'."
    ]


def test_missing_cells(tmp_path):
    text = [f"This is the sentence number {i}." for i in range(5)]
    path = write(
        tmp_path, {"id": ["u", None, "v", "w", "x", "y"], "text": [*text, None], "label": [*"abab", None, "a"]}
    )
    data = read_labelled(path, ReadOptions(id_column="id"))
    assert (data.kind, data.samples) == ("texts", text[:4])
    assert data.ids.tolist() == ["u", "", "v", "w"]
    assert data.left_out == [LeftOut("x", "no label"), LeftOut("y", "no text")]


def test_vectors_are_features(tmp_path):
    vectors = [[0.0, 1.0], [2.0, 3.0], None, [4.0, np.nan], [6.0, 7.0], [8.0, 9.0]]
    path = write(tmp_path, {"vector": vectors, "x": [1, 2, 3, 4, 5, 6], "label": list("ababab")})
    data = read_labelled(path)
    assert data.kind == "features"
    assert data.samples.dtype == np.float32
    assert data.samples.tolist() == [[0, 1], [2, 3], [6, 7], [8, 9]]
    assert data.left_out == [
        LeftOut(2, "a number that is missing or infinite"),
        LeftOut(3, "a number that is missing or infinite"),
    ]
    assert data.notes[0] == "The features are the columns 'vector'; not used: 'x'."


def test_vectors_must_have_one_length(tmp_path):
    path = write(tmp_path, {"vector": [[0.0], [1.0, 2.0]], "label": ["a", "b"]})
    with pytest.raises(ValueError, match="the lists of column 'vector' must have one length, got 1 and 2"):
        read_labelled(path)


def test_several_columns_of_vectors(tmp_path):
    vectors = [[float(i)] for i in range(4)]
    path = write(tmp_path, {"a": vectors, "b": vectors, "label": list("xyxy")})
    with pytest.raises(ValueError, match="has several columns of vectors: a, b; pass the name of one, --features NAME"):
        read_labelled(path)
    assert read_labelled(path, ReadOptions(features=("b",))).samples.tolist() == vectors


def test_lists_that_are_no_vectors_are_no_features(tmp_path):
    path = write(
        tmp_path,
        {"words": [["a"], ["b"]] * 2, "matrix": [[[1]], [[2]]] * 2, "x": [1, 2, 3, 4], "label": list("xyxy")},
    )
    data = read_labelled(path)
    assert (data.kind, list(data.samples.columns)) == ("table", ["x"])


def test_encoded_images_and_class_names(tmp_path):
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, "png")
    images = [{"bytes": file.getvalue(), "path": f"{i}.png"} for i in range(4)] + [{"bytes": None, "path": "4.png"}]
    features = {"label": {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    data = read_labelled(write(tmp_path, {"image": images, "label": [1, 0, 1, 0, 0]}, metadata))
    assert (data.kind, data.classes) == ("images", ("cat", "dog", "eel"))
    assert data.samples == [file.getvalue()] * 4
    assert data.left_out == [LeftOut(4, "no image")]


@pytest.mark.parametrize("metadata", [None, {"huggingface": "text"}, {"huggingface": "[]"}, {"other": "1"}])
def test_other_metadata_is_ignored(metadata, tmp_path):
    path = write(tmp_path, {"x": [1, 2, 3, 4], "label": [0, 1, 0, 1]}, metadata)
    assert read_labelled(path).classes == ("0", "1")


def test_strings_that_are_not_utf_8(tmp_path):
    path = write(tmp_path, {"text": ["spät", "früh"] * 2, "label": ["a", "b"] * 2})
    content = path.read_bytes().replace("ä".encode(), b"\xff\xff")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.parquet can't be read: .*UTF-?8"):
        read_labelled(path)


def test_damaged_empty_and_too_large_files(tmp_path):
    path = write(tmp_path, {"x": [1, 2], "label": [0, 1]})
    with pytest.raises(ValueError, match=r"data\.parquet would take .* bytes, of 1 that are left of max_bytes"):
        read_labelled(path, ReadOptions(max_bytes=1))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"data\.parquet can't be read: "):
        read_labelled(path)
    with pytest.raises(ValueError, match=r"data\.parquet has no rows"):
        read_labelled(write(tmp_path, {"x": pa.array([], pa.int64()), "label": pa.array([], pa.int64())}))
