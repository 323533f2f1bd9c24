"""Stand-ins for IMDb, Jigsaw's comments and WRENCH: texts whose words tell their classes."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...data.jigsaw import TASKS
from .pictures import write_lines

COMMON = ("the", "film", "was", "and", "of", "it", "this", "that", "a", "to")
N_OWN = 6
"""Words of each class."""


def sentence(label: int, rng: np.random.Generator) -> str:
    """Return a text with five words of a class, one of another, and ten that all classes have."""
    class_words = [f"word{label}x{k}" for k in rng.integers(0, N_OWN, 5)]
    other = f"word{label + 1}x{rng.integers(0, N_OWN)}"
    words = [*class_words, other, *rng.choice(COMMON, 10)]
    return " ".join(rng.permutation(words))


def write_imdb(data: Path) -> None:
    """Write the folder aclImdb with 150 reviews of each class for training, and 50 for testing."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 150), ("test", 50)):
        for label, (name, rating) in enumerate((("neg", 2), ("pos", 9))):
            for number in range(n):
                path = data / "aclImdb" / split / name / f"{number}_{rating}.txt"
                write_lines(path, [sentence(label, rng)])


def write_jigsaw(data: Path) -> None:
    """Write 400 comments for training, of which a fifth are toxic, and 100 for testing, of which half are scored."""
    folder = data / "jigsaw"
    folder.mkdir()
    rng = np.random.default_rng(0)
    train = [[f"a{i}", sentence(int(i % 5 == 0), rng), *_tasks(i % 5 == 0)] for i in range(400)]
    test = [[f"b{i}", sentence(int(i % 5 == 0), rng)] for i in range(100)]
    scores = [[f"b{i}", *_tasks(i % 5 == 0)] for i in range(50)]
    scores += [[f"b{i}", *["-1"] * len(TASKS)] for i in range(50, 100)]
    _write_csv(folder / "train.csv", ["id", "comment_text", *TASKS], train)
    _write_csv(folder / "test.csv", ["id", "comment_text"], test)
    _write_csv(folder / "test_labels.csv", ["id", *TASKS], scores)


def _tasks(is_toxic: bool) -> list[str]:
    return [str(int(is_toxic)), *["0"] * (len(TASKS) - 1)]


def _write_csv(path: Path, head: list[str], rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])


def write_wrench(names: Iterable[str], data: Path) -> None:
    """Write data sets of such names, each with two classes and six rules, of which one is often wrong."""
    for number, name in enumerate(names):
        folder = data / "wrench" / name
        folder.mkdir(parents=True)
        rng = np.random.default_rng(number)
        (folder / "label.json").write_text(json.dumps({"0": "HAM", "1": "SPAM"}))
        for split, n in (("train", 300), ("valid", 60), ("test", 60)):
            samples = {str(i): _voted(i % 2, rng) for i in range(n)}
            (folder / f"{split}.json").write_text(json.dumps(samples))


def _voted(label: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return a sample with the votes of six rules: three vote for each class, and fire on about half of it."""
    votes = []
    for rule in range(6):
        vote = rule % 2
        share = 0.05
        if rule == 0:
            share = 0.4  # whichever the class
        elif vote == label:
            share = 0.5
        votes.append(vote if rng.random() < share else -1)
    return {"label": label, "weak_labels": votes, "data": {"text": sentence(label, rng)}}
