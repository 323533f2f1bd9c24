"""Data sets that Hugging Face's datasets saved to disk."""

from __future__ import annotations

import io

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, NamedSplit, Sequence, Value
from PIL import Image as Pillow

from rrm_torch.find.readers.image_pixels import read_pixels
from rrm_torch.find.readers.labelled_data import LeftOut, ReadOptions
from rrm_torch.find.readers.sources import read_labelled

SENTENCES = [f"This is the sentence number {i}." for i in range(6)]
TEXTS = {"text": SENTENCES, "label": [1, 0, 1, 0, 1, -1]}
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos", "neutral"])})


def save(folder, columns=TEXTS, features=FEATURES, **arguments):
    Dataset.from_dict(columns, features=features, **arguments).save_to_disk(folder)
    return folder


def picture(level):
    file = io.BytesIO()
    Pillow.new("L", (2, 2), level).save(file, "png")
    return file.getvalue()


def test_texts_and_class_names(tmp_path):
    data = read_labelled(save(tmp_path))
    assert (data.kind, data.classes) == ("texts", ("neg", "pos", "neutral"))
    assert data.samples == SENTENCES[:5]
    assert data.labels.tolist() == [1, 0, 1, 0, 1]
    assert data.ids.tolist() == [0, 1, 2, 3, 4]
    assert data.left_out == [LeftOut(5, "label -1, which stands for no label")]
    assert data.notes[0] == "No sample has these classes that the data names: neutral."


def test_images_are_encoded_or_files(tmp_path):
    (tmp_path / "one.png").write_bytes(picture(1))
    images = [str(tmp_path / "one.png"), *({"bytes": picture(level), "path": None} for level in (2, 3, 4))]
    columns = {"image": [*images, None], "label": ["a", "b", "a", "b", "b"], "idx": [8, 7, 6, 5, 4]}
    folder = save(tmp_path / "data", columns, Features(image=Image(), label=Value("string"), idx=Value("int64")))
    data = read_labelled(folder)
    assert (data.kind, data.classes) == ("images", ("a", "b"))
    pixels, _, broken = read_pixels(data.samples, 2)
    assert (pixels[:, 0, 0, 0].tolist(), broken) == ([1, 2, 3, 4], {})
    assert data.left_out == [LeftOut(4, "no image")]


def test_vectors_are_features(tmp_path):
    columns = {"embedding": [[i, 1.0] for i in range(4)], "label": [0, 1, 0, 1]}
    features = Features(embedding=Sequence(Value("float32")), label=Value("int64"))
    data = read_labelled(save(tmp_path, columns, features))
    assert (data.kind, data.samples.shape) == ("features", (4, 2))


def test_one_of_several_splits(tmp_path):
    parts = {name: Dataset.from_dict(TEXTS, features=FEATURES) for name in ("train", "test")}
    parts["test"] = parts["test"].select(range(4))
    DatasetDict(parts).save_to_disk(tmp_path)
    data = read_labelled(tmp_path)
    assert len(data.samples) == 5
    assert data.notes[0] == "Of the splits train, test, train is read; --split NAME reads another."
    assert len(read_labelled(tmp_path, ReadOptions(split="test")).samples) == 4
    with pytest.raises(ValueError, match="must have the split 'dev', got train, test"):
        read_labelled(tmp_path, ReadOptions(split="dev"))


def test_splits_without_train(tmp_path):
    parts = {name: Dataset.from_dict(TEXTS, features=FEATURES) for name in ("a", "b")}
    DatasetDict(parts).save_to_disk(tmp_path / "several")
    with pytest.raises(ValueError, match="has several splits: a, b; pass the name of one, --split NAME"):
        read_labelled(tmp_path / "several")
    DatasetDict({"a": parts["a"]}).save_to_disk(tmp_path / "one")
    assert len(read_labelled(tmp_path / "one").samples) == 5


def test_split_of_a_single_data_set(tmp_path):
    folder = save(tmp_path, split=NamedSplit("validation"))
    assert len(read_labelled(folder, ReadOptions(split="validation")).samples) == 5
    with pytest.raises(ValueError, match="must have the split 'train', got only 'validation'"):
        read_labelled(folder, ReadOptions(split="train"))


def test_test_set_without_labels(tmp_path):
    folder = save(tmp_path, {**TEXTS, "label": [-1] * 6})
    with pytest.raises(ValueError, match=r"column 'label' of .* has no labels: all are -1"):
        read_labelled(folder)


def test_empty_and_damaged_folders(tmp_path):
    with pytest.raises(ValueError, match="empty can't be read as a data set: "):
        read_labelled(save(tmp_path / "empty", {"text": [], "label": []}))
    folder = save(tmp_path / "damaged")
    (folder / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match="damaged can't be read as a data set: "):
        read_labelled(folder)
