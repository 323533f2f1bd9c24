"""The test sets of CIFAR-10 and IMDb as training sets, with the errors that annotators found in their labels.

A model is trained on the test set with its original labels, and `Task.wrong` marks the labels that most of the five
annotators rejected. All others count as correct:

- those that most annotators accepted, among them images that show objects of two classes, the given one included;
- those that no annotator saw, because confident learning did not propose them: 97 % of the images and 95 % of the
  reviews. Some of them are wrong. A method that lists those is charged with false positives, and the methods that
  resemble the one that proposed the candidates have an advantage.

The metrics therefore compare methods, and understate how many of the labels that they list are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rrm_torch.training.pipeline import Task

from . import noisy_tasks
from .data.checked_labels import CheckedLabel, read_checked_labels
from .data.text_features import SPLITS, TextData, TextFeatures, read_imdb_rows, tfidf_features

FILES = {"cifar10n": "label_errors_cifar10_mturk.json", "imdb": "label_errors_imdb_mturk.json"}
"""The file of checked labels by the data set, a name of `noisy_tasks.DATA_SETS`."""

CLASSES = ("neg", "pos")
NAMES = ("Negative", "Positive")


def task(data: Path, name: str, seed: int) -> Task:
    """Return a test set as a training set, with the labels that annotators rejected.

    Parameters
    ----------
    data : Path
        Folder with the data set's files and that of `FILES`.
    name : str
        One of `FILES`.
    seed : int
        Seed of the images by which CIFAR-10 is standardised; the samples and labels do not depend on it.

    Returns
    -------
    Task
        Its test set consists of training samples.

    Raises
    ------
    ValueError
        `name` has another value, a file is damaged, or a checked label is not one of the test set.
    """
    if name not in FILES:
        raise ValueError(f"name must be one of {', '.join(FILES)}, got {name!r}")
    checked = read_checked_labels(data / FILES[name])
    if name == "imdb":
        return _imdb(noisy_tasks.imdb_path(data), checked)
    original = noisy_tasks.task(data, name, noisy_tasks.CLEAN, None, seed)
    given = original.y_test.tolist()
    return replace(
        original,
        x_train=original.x_test,
        labels=original.y_test,
        wrong=mark_wrong(range(len(given)), given, checked),
        x_test=original.x_train,
        y_test=original.labels,
    )


def mark_wrong(
    keys: Sequence[int | str], given: Sequence[int | str], checked: Iterable[CheckedLabel]
) -> npt.NDArray[np.bool_]:
    """Return which samples have a label that annotators rejected.

    Parameters
    ----------
    keys : sequence of int or str, shape (n,)
        What identifies the samples in `checked`.
    given : sequence of int or str, shape (n,)
        Their labels.
    checked : iterable of CheckedLabel

    Returns
    -------
    np.ndarray of bool, shape (n,)

    Raises
    ------
    ValueError
        A checked label belongs to no sample, or differs from its label.
    """
    positions = {key: position for position, key in enumerate(keys)}
    wrong = np.zeros(len(keys), np.bool_)
    for label in checked:
        position = positions.get(label.key)
        if position is None or given[position] != label.given:
            raise ValueError(
                f"checked labels must be those of the test set, got {label.given!r} for {label.key!r}, which isn't in "
                "it or has another label; use the files of the same data set, in its original order"
            )
        wrong[position] = label.is_wrong
    return wrong


def _imdb(path: Path, checked: list[CheckedLabel]) -> Task:
    features, keys = _load_imdb(path)
    given = [NAMES[label] for label in features.y_train.tolist()]
    clean_task = noisy_tasks.perceptron_task(features.x_train, features.y_train, features.x_test, features.y_test)
    return replace(clean_task, wrong=mark_wrong(keys, given, checked))


@lru_cache(maxsize=1)
def _load_imdb(path: Path) -> tuple[TextFeatures, list[str]]:
    """Return the features with the splits exchanged, and the key of each review; computed once per process."""
    rows = read_imdb_rows(path)
    texts = {}
    labels = {}
    for part in SPLITS:
        members = [row for row in rows if row["split"] == part]
        texts[part] = [row["text"] for row in members]
        labels[part] = np.array([row["label"] for row in members], np.int64)
    features = tfidf_features(TextData(texts["test"], labels["test"], texts["train"], labels["train"]))
    keys = [f"test/{CLASSES[row['label']]}/{row['id']}_{row['rating']}" for row in rows if row["split"] == "test"]
    return features, keys
