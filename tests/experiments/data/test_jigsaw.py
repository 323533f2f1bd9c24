"""Comments of Jigsaw's competitions, in files of the published layout."""

from __future__ import annotations

import csv

import pytest

from experiments.data.jigsaw import read_rated_comments, read_toxic_comments

TASKS = "toxic,severe_toxic,obscene,threat,insult,identity_hate"
HEAD_OF_RATED = (
    "id,target,comment_text,severe_toxicity,obscene,identity_attack,insult,threat,asian,black,created_date,rating,"
    "toxicity_annotator_count"
)


@pytest.fixture
def comments(tmp_path):
    """Return the folder of Toxic Comment Classification; its files may be changed."""
    save(
        tmp_path / "train.csv",
        f"id,comment_text,{TASKS}",
        ["0a", "Thanks,\nsee you", *"000000"],
        ["0b", "x", *"101010"],
    )
    save(tmp_path / "test.csv", "id,comment_text", ["1a", "left out"], ["1b", "bad"], ["1c", "good"])
    save(tmp_path / "test_labels.csv", f"id,{TASKS}", ["1a", *["-1"] * 6], ["1b", *"100000"], ["1c", *"000000"])
    return tmp_path


def save(path, head, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head.split(","), *rows])


def save_rated(path, *targets):
    save(path, HEAD_OF_RATED, *([59848 + i, target, f"comment {i}", *[0.0] * 10] for i, target in enumerate(targets)))


def test_toxic_comments_are_split_and_those_not_scored_left_out(comments):
    data = read_toxic_comments(comments)
    assert data.train == ["Thanks,\nsee you", "x"]
    assert data.y_train.tolist() == [0, 1]
    assert data.test == ["bad", "good"]
    assert data.y_test.tolist() == [1, 0]


def test_another_task_is_another_column(comments):
    assert read_toxic_comments(comments, "obscene").y_train.tolist() == [0, 1]
    assert read_toxic_comments(comments, "threat").y_train.tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"task must be one of toxic, severe_toxic, .*, got 'rude'"):
        read_toxic_comments(comments, "rude")


@pytest.mark.parametrize("name", ["train.csv", "test.csv", "test_labels.csv"])
def test_missing_file_is_named(name, comments):
    (comments / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name}'; it must have the columns id"):
        read_toxic_comments(comments)


def test_missing_column_is_named(comments):
    save(comments / "train.csv", "id,comment_text,toxic", ["0a", "x", "0"])
    with pytest.raises(ValueError, match=r"train\.csv must have the columns .*, lacks severe_toxic, obscene, threat"):
        read_toxic_comments(comments)


@pytest.mark.parametrize(("label", "allowed"), [("-1", "0, 1"), ("2", "0, 1"), ("", "0, 1")])
def test_training_labels_are_0_or_1(label, allowed, comments):
    save(comments / "train.csv", f"id,comment_text,{TASKS}", ["0a", "x", label, *"00000"])
    with pytest.raises(ValueError, match=rf"toxic in .*train\.csv must be one of {allowed}, got '{label}'"):
        read_toxic_comments(comments)


@pytest.mark.parametrize("ids", [["1a", "1b"], ["1a", "1c", "1b"]])
def test_labels_of_other_comments_are_rejected(ids, comments):
    save(comments / "test_labels.csv", f"id,{TASKS}", *([name, *"000000"] for name in ids))
    with pytest.raises(ValueError, match=rf"ids of test\.csv in the same order, got {len(ids)} and 3 ids"):
        read_toxic_comments(comments)


def test_rated_comments_are_toxic_from_one_half(tmp_path):
    save_rated(tmp_path / "train.csv", "0.0", "0.4999", "0.5", "0.89361702")
    data = read_rated_comments(tmp_path / "train.csv")
    assert data.texts == [f"comment {i}" for i in range(4)]
    assert data.shares.tolist() == [0, 0.4999, 0.5, 0.89361702]
    assert data.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("target", "message"),
    [("1.5", "must lie in .0, 1., got 1.5"), ("nan", "got nan"), ("", "must be numbers in .0, 1.: could not convert")],
)
def test_targets_outside_0_to_1_are_rejected(target, message, tmp_path):
    save_rated(tmp_path / "train.csv", "0.2", target)
    with pytest.raises(ValueError, match=rf"target in .*train\.csv {message}|{message}"):
        read_rated_comments(tmp_path / "train.csv")


def test_rated_comments_need_the_column_target(comments):
    with pytest.raises(ValueError, match=r"train\.csv must have the columns target, comment_text, lacks target"):
        read_rated_comments(comments / "train.csv")
