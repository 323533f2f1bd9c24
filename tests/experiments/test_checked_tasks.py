"""Test sets become training sets, with the labels that annotators rejected."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import checked_tasks, noisy_tasks
from experiments.checked_tasks import FILES, mark_wrong
from experiments.data.checked_labels import CheckedLabel
from experiments.data.text_features import TextFeatures
from rrm_torch.models import perceptron
from rrm_torch.training.pipeline import Task

SHARED = Path(__file__).parents[3] / "shared" / "data"
REJECTED, ACCEPTED = {"given": 1, "guessed": 4}, {"given": 4, "guessed": 1}


def save_checked(path, *labels):
    keys = ("id", "given_original_label", "mturk")
    path.write_text(json.dumps([dict(zip(keys, label, strict=True)) for label in labels]))


def test_cifar_is_trained_on_the_test_set(tmp_path, monkeypatch):
    given = Task(
        x_train=torch.zeros(8, 2),
        labels=torch.arange(8),
        x_test=torch.ones(5, 2),
        y_test=torch.tensor([3, 1, 4, 1, 5]),
        model=lambda: perceptron(2, (), 10),
    )
    monkeypatch.setattr(noisy_tasks, "task", lambda *arguments: given)
    save_checked(tmp_path / FILES["cifar10n"], (4, 5, REJECTED), (1, 1, ACCEPTED))
    here = checked_tasks.task(tmp_path, "cifar10n", 0)
    assert torch.equal(here.x_train, given.x_test)
    assert torch.equal(here.labels, given.y_test)
    assert here.wrong.tolist() == [False, False, False, False, True]
    assert torch.equal(here.x_test, given.x_train)
    assert torch.equal(here.y_test, given.labels)


def test_reviews_are_found_by_class_number_and_rating(tmp_path, monkeypatch):
    # (split, label, number, rating); the same number occurs in both classes.
    reviews = [("train", 0, 7, 1), ("test", 0, 7, 2), ("test", 1, 7, 9), ("train", 1, 8, 8), ("test", 1, 8, 8)]
    names = ("split", "label", "id", "rating")
    with lzma.open(tmp_path / "imdb.jsonl.xz", "wt", encoding="utf-8") as file:
        for review in reviews:
            row = dict(zip(names, review, strict=True)) | {"text": " ".join(map(str, review))}
            file.write(json.dumps(row) + "\n")
    seen = []

    def features(data):
        seen.append(data)
        arrays = (torch.zeros(len(data.train), 4), data.y_train, torch.zeros(len(data.test), 4), data.y_test)
        return TextFeatures(*(torch.as_tensor(array) for array in arrays))

    monkeypatch.setattr(checked_tasks, "tfidf_features", features)
    save_checked(
        tmp_path / FILES["imdb"], ("test/pos/7_9", "Positive", REJECTED), ("test/neg/7_2", "Negative", ACCEPTED)
    )
    here = checked_tasks.task(tmp_path, "imdb", 0)
    assert seen[0].train == ["test 0 7 2", "test 1 7 9", "test 1 8 8"]
    assert here.labels.tolist() == [0, 1, 1]
    assert here.wrong.tolist() == [False, True, False]
    assert here.y_test.tolist() == [0, 1]
    checked_tasks.task(tmp_path, "imdb", 1)
    assert len(seen) == 1


@pytest.mark.parametrize("label", [CheckedLabel("c", 0, True), CheckedLabel("b", 0, True)])
def test_mark_wrong_rejects_labels_of_other_data(label):
    with pytest.raises(ValueError, match=rf"must be those of the test set, got 0 for '{label.key}', which isn't in it"):
        mark_wrong(["a", "b"], [0, 1], [label])


def test_task_rejects_unknown_data_set():
    with pytest.raises(ValueError, match="name must be one of cifar10n, imdb, got 'mnist'"):
        checked_tasks.task(Path(), "mnist", 0)


def test_real_checked_images():
    paths = [SHARED / name for name in ("cifar10_jpegq75.npz", FILES["cifar10n"])]
    for path in paths:
        if not path.is_file():
            pytest.skip(f"needs the real data in {path}")
    with np.load(paths[0]) as archive:
        y_test = archive["y_test"].tolist()
    checked = checked_tasks.read_checked_labels(paths[1])
    assert len(checked) == 275
    assert mark_wrong(range(len(y_test)), y_test, checked).sum() == 37
