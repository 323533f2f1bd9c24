"""IMDb as it is published: the folder aclImdb, with a file for each review (Maas et al. 2011)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

CLASSES = ("neg", "pos")
"""Folders of a split, in the order of the labels; the folder unsup, which has no labels, is ignored."""

RATINGS = (range(1, 5), range(7, 11))
"""Ratings of each class, in stars."""

NAME = re.compile(r"(\d+)_(\d+)\.txt")


def read_imdb_folder(path: Path) -> list[dict[str, Any]]:
    """Return the reviews of the folder aclImdb.

    Parameters
    ----------
    path : Path
        Folder with the folders train/neg, train/pos, test/neg and test/pos; each holds files ``ID_RATING.txt``.

    Returns
    -------
    list of dict
        ``split``, ``id``, ``rating``, ``label`` (0 or 1) and ``text``, in this order of folders, and by id in each.

    Raises
    ------
    FileNotFoundError
        One of the four folders is missing.
    ValueError
        A folder has no review, a file has another name, or its rating is not one of its class.
    """
    rows = []
    for split in ("train", "test"):
        for label in range(len(CLASSES)):
            rows += _read_class(path, split, label)
    return rows


def _read_class(path: Path, split: str, label: int) -> list[dict[str, Any]]:
    folder = path / split / CLASSES[label]
    if not folder.is_dir():
        raise FileNotFoundError(
            f"folder {str(path)!r} must hold {split}/{CLASSES[label]}; it is the folder aclImdb in aclImdb_v1.tar.gz"
        )
    reviews = {}
    for file in folder.iterdir():
        if not file.name.startswith("."):
            reviews[_read_name(file, label)] = file
    if not reviews:
        raise ValueError(f"folder {str(folder)!r} must hold reviews, got none; extract aclImdb_v1.tar.gz again")
    return [
        {"split": split, "id": number, "rating": rating, "label": label, "text": file.read_text(encoding="utf-8")}
        for (number, rating), file in sorted(reviews.items())
    ]


def _read_name(file: Path, label: int) -> tuple[int, int]:
    """Return the id and the rating in the name of a file."""
    match = NAME.fullmatch(file.name)
    if match is None:
        raise ValueError(f"names of reviews must be ID_RATING.txt, got {str(file)!r}; remove it")
    number, rating = (int(part) for part in match.groups())
    if rating not in RATINGS[label]:
        allowed = RATINGS[label]
        raise ValueError(
            f"ratings in {CLASSES[label]} must lie in {allowed[0]} to {allowed[-1]}, got {rating} in {str(file)!r}; "
            "extract aclImdb_v1.tar.gz again"
        )
    return number, rating
