"""Which reader a source needs, options, and sources that aren't read."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from rrm_torch.find.readers.labelled_data import LabelledData, LeftOut, ReadOptions, join_names
from rrm_torch.find.readers.sources import read_labelled


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data.docx", r"data\.docx has the suffix \.docx, and data must be a folder of images"),
        ("data", r"data has the suffix \(none\)"),
        ("data.npy", "pass it as features, --features, beside a CSV file of labels"),
        ("data.xlsx", "; save it as CSV$"),
        ("data.pkl", "pickles are never loaded"),
        ("data.tar.gz", "; unpack it$"),
        ("data.gz", r"has the suffix \.gz"),
    ],
)
def test_files_of_other_kinds(name, message, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=message):
        read_labelled(tmp_path / name)


@pytest.mark.parametrize("name", ["data.csv", "data.npz", "data.jsonl", "data.parquet"])
def test_missing_and_empty_files(name, tmp_path):
    path = tmp_path / name
    with pytest.raises(FileNotFoundError, match=rf"{name} doesn't exist; data must be a folder of images"):
        read_labelled(path)
    path.touch()
    with pytest.raises(ValueError, match=rf"{name} is empty"):
        read_labelled(path)


@pytest.mark.parametrize("name", ["data.npz", "data.parquet"])
def test_damaged_archives(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match=rf"{name} (isn't a|can't be read)"):
        read_labelled(path)


@pytest.mark.parametrize("name", ["", "data.npz"])
def test_columns_of_sources_without_columns(name, tmp_path):
    path = tmp_path / name
    if name:
        np.savez(path, x=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="has no use for text, features, which are for data of another kind"):
        read_labelled(path, ReadOptions(text="x", features=("y",)))
    with pytest.raises(ValueError, match=r"kind must be images.* for .*, got 'table'"):
        read_labelled(path, ReadOptions(kind="table"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "sounds"}, "kind must be one of images, texts, table, features, probabilities, got 'sounds'"),
        ({"features": ("x",), "logits": ("y",)}, "pass either features or logits, not both"),
    ],
)
def test_options_that_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ReadOptions(**options)


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("data.csv", "pandas", r"tables need pandas, which is not installed: pip install 'rrm-core\[find\]'"),
        ("data.jsonl", "pandas", "tables need pandas"),
        ("data.parquet", "pyarrow.parquet", "Parquet files need pyarrow"),
        ("state.json", "datasets", "data sets of Hugging Face need datasets, .*: pip install datasets"),
    ],
)
def test_packages_that_are_not_installed(name, module, message, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ImportError, match=message):
        read_labelled(tmp_path if name == "state.json" else tmp_path / name)


def test_pillow_that_is_not_installed(monkeypatch):
    from rrm_torch.find.readers.image_pixels import read_pixels

    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match="images need pillow, which is not installed"):
        read_pixels([b"x"], 4)


def test_samples_can_be_left_out_later():
    data = LabelledData(
        name="data",
        kind="texts",
        samples=["u", "v", "w"],
        labels=np.array([0, 1, 0]),
        classes=("a", "b"),
        ids=np.array([7, 8, 9]),
        notes=[],
        left_out=[LeftOut(6, "no label")],
    )
    assert data.without({}) is data
    rest = data.without({1: "broken"})
    assert (rest.samples, rest.labels.tolist(), rest.ids.tolist()) == (["u", "w"], [0, 0], [7, 9])
    assert rest.left_out == [LeftOut(6, "no label"), LeftOut(8, "broken")]
    assert rest.classes == data.classes


def test_join_names():
    assert join_names(list("abc")) == "a, b, c"
    assert join_names(list("abcdefg"), 5) == "a, b, c, d, e and 2 more"
