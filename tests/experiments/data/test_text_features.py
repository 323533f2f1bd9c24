"""Texts become features, and the labels stay with their texts."""

from __future__ import annotations

import json
import lzma
import sys

import numpy as np
import pytest

from experiments.data.text_features import TextData, read_banking77, read_imdb, tfidf_features

REVIEWS = [
    {"split": split, "label": label, "text": f"{split} {label} number {i}"}
    for split in ("test", "train")
    for label in (1, 0)
    for i in range(6)
]


def save_reviews(path):
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in REVIEWS)
    return path


def test_read_banking77_numbers_intents_in_alphabetical_order(tmp_path):
    path = tmp_path / "banking77.tsv.xz"
    rows = ["split\tlabel\ttext", "train\tlost\tWhere is it?", 'train\tage\t"How ""old""\tnow?"', "test\tlost\tNA"]
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    data = read_banking77(path)
    assert data.train == ["Where is it?", 'How "old"\tnow?']
    assert data.y_train.tolist() == [1, 0]
    assert data.test == ["NA"]
    assert data.y_test.tolist() == [1]


def test_read_imdb_keeps_order_and_splits(tmp_path):
    data = read_imdb(save_reviews(tmp_path / "imdb.jsonl.xz"))
    assert data.train == [row["text"] for row in REVIEWS if row["split"] == "train"]
    assert data.test == [row["text"] for row in REVIEWS if row["split"] == "test"]
    assert data.y_train.tolist() == data.y_test.tolist() == [1] * 6 + [0] * 6


def test_read_imdb_draws_the_same_samples_with_their_labels(tmp_path):
    path = save_reviews(tmp_path / "imdb.jsonl.xz")
    data = read_imdb(path, 5)
    assert data.train == read_imdb(path, 5).train
    for part, texts, labels in (("train", data.train, data.y_train), ("test", data.test, data.y_test)):
        assert len(set(texts)) == 5
        assert [text.split()[:2] for text in texts] == [[part, str(label)] for label in labels]
    with pytest.raises(ValueError, match="samples must be at most 12, the reviews in train, got 13"):
        read_imdb(path, 13)


def test_tfidf_features_are_centred_and_learned_from_training_texts():
    pytest.importorskip("sklearn")
    words = ["good film", "bad film", "good plot", "bad plot", "good good actor", "bad actor"]
    data = TextData(words, np.arange(6) % 2, ["good film", "unknown words"], np.array([0, 1]))
    features = tfidf_features(data)
    assert features.x_train.shape == (6, 5)  # a word each
    assert features.x_test.shape == (2, 5)
    assert features.x_train.mean(0).abs().max() < 1e-6
    assert features.y_train.tolist() == [0, 1, 0, 1, 0, 1]
    np.testing.assert_allclose(features.x_test[0], features.x_train[0], atol=1e-5)
    assert tfidf_features(data, longest_phrase=2).x_train.shape == (6, 5)  # no phrase occurs twice


def test_features_without_scikit_learn_raise_with_remedy(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ValueError, match=r"can't be computed here: there is no module sklearn.*; pip install"):
        tfidf_features(TextData(["a"], np.zeros(1, int), ["a"], np.zeros(1, int)))
