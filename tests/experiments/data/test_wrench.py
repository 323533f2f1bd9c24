"""Data sets with votes of rules, in files of WRENCH's layout."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.data.wrench import read_wrench


def sample(label=1, votes=(-1, 0, 1), **data):
    return {"label": label, "weak_labels": list(votes), "data": data or {"text": "win a prize"}}


def save(folder, classes=("HAM", "SPAM"), **splits):
    (folder / "label.json").write_text(json.dumps({str(k): name for k, name in enumerate(classes)}))
    for split in ("train", "valid", "test"):
        rows = splits.get(split, [sample()])
        (folder / f"{split}.json").write_text(json.dumps({str(i): row for i, row in enumerate(rows)}))
    return folder


def test_texts_with_labels_and_votes_in_the_order_of_the_file(tmp_path):
    rows = [sample(i % 2, (-1, i % 2, -1), text=f"text {i}") for i in range(12)]
    data = read_wrench(save(tmp_path, train=rows))
    assert data.classes == ("HAM", "SPAM")
    assert data.train.texts == [f"text {i}" for i in range(12)]
    assert data.train.features is None
    assert data.train.labels.tolist() == [i % 2 for i in range(12)]
    assert data.train.votes.dtype == np.int8
    assert data.train.votes.tolist() == [[-1, i % 2, -1] for i in range(12)]
    assert data.test.votes.tolist() == [[-1, 0, 1]]


def test_features_in_place_of_texts(tmp_path):
    rows = [sample(feature=[0.5, 2]), sample(feature=[1, 0])]
    data = read_wrench(save(tmp_path, train=rows, valid=rows[:1], test=rows[1:]))
    assert data.train.texts is None
    assert data.train.features.dtype == np.float32
    assert data.train.features.tolist() == [[0.5, 2], [1, 0]]


BAD_ROWS = {
    "label": (sample(2), "label in .*train.json must lie in 0 to 1, got 2"),
    "negative label": (sample(-1), "label in .* must lie in 0 to 1, got -1"),
    "no label": (sample(None), "label in .* must be integers, got object"),
    "vote": (sample(votes=(0, 2, 0)), "weak_labels in .* must lie in -1 to 1, got 2"),
    "low vote": (sample(votes=(0, -2, 0)), "weak_labels in .* must lie in -1 to 1, got -2"),
    "missing key": ({"label": 1, "data": {"text": ""}}, "sample '1' of .* must have label, .* lacks weak_labels"),
    "number": (3, "sample '1' of .* lacks label, weak_labels, data"),
    "length": (sample(votes=(0, 1)), "weak_labels of all samples of .* must be equally long, got 2 to 3 numbers"),
    "kind of vote": (sample(votes=(0, 0.5, 1)), "weak_labels of each sample of .* must be a list of integers"),
    "both kinds": (sample(feature=[0.5]), "must all have text, or all have features; got both"),
    "other data": (sample(image="a.png"), "data of sample '1' of .* must have text or feature"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_other_samples_are_rejected(case, tmp_path):
    row, message = BAD_ROWS[case]
    with pytest.raises(ValueError, match=message):
        read_wrench(save(tmp_path, train=[sample(), row]))


def test_splits_of_other_rules_are_rejected(tmp_path):
    with pytest.raises(ValueError, match=r"as many votes, got 3 in train\.json, 3 in valid\.json, 1 in test\.json"):
        read_wrench(save(tmp_path, test=[sample(votes=(1,))]))


@pytest.mark.parametrize("name", ["label.json", "valid.json"])
def test_missing_and_damaged_files_are_named(name, tmp_path):
    path = save(tmp_path) / name
    for content, message in (("{", "can't be read as JSON"), ("[]", "must hold a JSON object with entries, got list")):
        path.write_text(content)
        with pytest.raises(ValueError, match=rf"{name} {message}"):
            read_wrench(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"must hold {name}"):
        read_wrench(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [(["1", "2"], "must number the classes from 0, got 1, 2"), (list(range(129)), "at most 128 classes, got 129")],
)
def test_other_classes_are_rejected(numbers, message, tmp_path):
    save(tmp_path)
    (tmp_path / "label.json").write_text(json.dumps(dict.fromkeys(numbers, "x")))
    with pytest.raises(ValueError, match=message):
        read_wrench(tmp_path)
