"""Comments labelled as toxic: the two data sets of Jigsaw's competitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .text_columns import read_columns
from .text_features import TextData

TASKS = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
NOT_SCORED = "-1"
"""In the test labels: a comment that was added so that nobody labels the test set by hand."""


def read_toxic_comments(path: Path, task: str = "toxic") -> TextData:
    """Read Toxic Comment Classification, comments of Wikipedia's talk pages, as a task of two classes.

    Parameters
    ----------
    path : Path
        Folder with train.csv (columns id, comment_text, and one of 0 and 1 for each task), test.csv (id, comment_text)
        and test_labels.csv (id, and one of 0, 1 and −1 for each task).
    task : str, default "toxic"
        The column of the label: "toxic", "severe_toxic", "obscene", "threat", "insult" or "identity_hate".

    Returns
    -------
    TextData
        The test set has the comments that are scored: −1 marks the others.

    Raises
    ------
    FileNotFoundError
        A file is missing.
    ValueError
        `task` has another value; a file lacks a column; a label is not one of these; or the files of the test set hold
        other comments.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    train = read_columns(path / "train.csv", ("id", "comment_text", *TASKS))
    test = read_columns(path / "test.csv", ("id", "comment_text"))
    scored = read_columns(path / "test_labels.csv", ("id", *TASKS))
    if scored["id"] != test["id"]:
        raise ValueError(
            f"{path / 'test_labels.csv'} must have the ids of test.csv in the same order, got {len(scored['id']):,} "
            f"and {len(test['id']):,} ids that are not all the same; use both files of one download"
        )
    y_train = _read_labels(path / "train.csv", task, train[task], ("0", "1"))
    y_test = _read_labels(path / "test_labels.csv", task, scored[task], ("0", "1", NOT_SCORED))
    is_scored = y_test >= 0
    texts = [text for text, used in zip(test["comment_text"], is_scored, strict=True) if used]
    return TextData(train["comment_text"], y_train, texts, y_test[is_scored])


def _read_labels(path: Path, column: str, values: list[str], allowed: tuple[str, ...]) -> npt.NDArray[np.int64]:
    unknown = next((value for value in values if value not in allowed), None)
    if unknown is not None:
        raise ValueError(f"{column} in {path} must be one of {', '.join(allowed)}, got {unknown!r}")
    return np.array(values).astype(np.int64)


@dataclass(frozen=True, eq=False)
class RatedComments:
    """Comments, and how many annotators found each toxic.

    Attributes
    ----------
    texts : list of str
    shares : float64 array of shape (n,)
        Share of the annotators who found the comment toxic, in [0, 1].
    labels : int64 array of shape (n,)
        1 if the share is at least one half, else 0.
    """

    texts: list[str]
    shares: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]


def read_rated_comments(path: Path) -> RatedComments:
    """Read the training set of Unintended Bias in Toxicity Classification, comments on news (Borkan et al. 2019).

    Parameters
    ----------
    path : Path
        The file train.csv, with the columns target, a number in [0, 1], and comment_text; others are ignored.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        A column is missing, or a target is not a number in [0, 1].
    """
    columns = read_columns(path, ("target", "comment_text"))
    try:
        shares = np.array(columns["target"]).astype(np.float64)
    except ValueError as error:
        raise ValueError(f"target in {path} must be numbers in [0, 1]: {error}") from error
    is_outside = ~((shares >= 0) & (shares <= 1))
    if is_outside.any():
        raise ValueError(f"target in {path} must lie in [0, 1], got {shares[is_outside][0]:g}")
    return RatedComments(columns["comment_text"], shares, (shares >= 0.5).astype(np.int64))
