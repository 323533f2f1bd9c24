"""The folder aclImdb holds the same reviews as the file of them all."""

from __future__ import annotations

import json
import lzma

import pytest

from experiments import noisy_tasks
from experiments.data.imdb_folder import read_imdb_folder
from experiments.data.text_features import read_imdb

# Ids whose order as text is another one; texts with a line break in HTML and a letter outside ASCII.
REVIEWS = [
    {"split": split, "id": number, "rating": rating, "label": label, "text": f"{split} {label} café<br />{number}"}
    for split in ("train", "test")
    for label, rating in ((0, 4), (1, 10))
    for number in (0, 2, 10)
]


@pytest.fixture
def folder(tmp_path):
    """Return the folder aclImdb with `REVIEWS` and the other files that the published one has."""
    path = tmp_path / "aclImdb"
    for row in REVIEWS:
        file = path / row["split"] / ("neg", "pos")[row["label"]] / f"{row['id']}_{row['rating']}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(row["text"], encoding="utf-8")
    (path / "train" / "unsup").mkdir()
    (path / "train" / "unsup" / "0_0.txt").write_text("no label")
    (path / "train" / "labeledBow.feat").write_text("9 0:9")
    (path / "imdb.vocab").write_text("the")
    return path


def test_reviews_are_read_by_split_class_and_id(folder):
    assert read_imdb_folder(folder) == REVIEWS


def test_the_same_reviews_are_drawn_from_the_folder_and_from_the_file(folder, tmp_path):
    path = tmp_path / "imdb.jsonl.xz"
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in REVIEWS)
    from_file = read_imdb(path, 4)
    from_folder = read_imdb(folder, 4)
    assert (from_folder.train, from_folder.test) == (from_file.train, from_file.test)
    assert from_folder.y_train.tolist() == from_file.y_train.tolist()


def test_experiments_use_the_folder_where_there_is_no_file(folder, tmp_path):
    assert noisy_tasks.imdb_path(tmp_path) == folder
    (tmp_path / "imdb.jsonl.xz").touch()
    assert noisy_tasks.imdb_path(tmp_path) == tmp_path / "imdb.jsonl.xz"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/neg/x.txt", r"names of reviews must be ID_RATING\.txt, got .*x\.txt'; remove it"),
        ("test/pos/3_3.txt", r"ratings in pos must lie in 7 to 10, got 3 in .*3_3\.txt'"),
        ("train/neg/3_5.txt", r"ratings in neg must lie in 1 to 4, got 5 in .*3_5\.txt'"),
    ],
)
def test_other_files_are_rejected_by_name(name, message, folder):
    (folder / name).touch()
    with pytest.raises(ValueError, match=message):
        read_imdb_folder(folder)


def test_missing_and_empty_folders_are_rejected_by_name(folder):
    for file in (folder / "test" / "neg").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"test/neg' must hold reviews, got none"):
        read_imdb_folder(folder)
    (folder / "test" / "neg").rmdir()
    with pytest.raises(FileNotFoundError, match=r"aclImdb' must hold test/neg; it is the folder aclImdb in"):
        read_imdb_folder(folder)
