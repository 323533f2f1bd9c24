"""Lists of image files and their labels, as data sets come with them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rrm_torch.data.path_list import PathList


@dataclass(frozen=True, eq=False)
class LabelledFiles:
    """Image files of a training or a test set, and their labels.

    Attributes
    ----------
    paths : PathList, length n
        Paths of the images; `rrm_torch.data.image_files.ImageFiles` decodes them.
    labels : torch.Tensor of int64, shape (n,)
        Labels in [0, number of classes).
    """

    paths: PathList
    labels: Tensor

    def __len__(self) -> int:
        return len(self.paths)


def read_lines(path: Path, origin: str) -> list[str]:
    """Return the lines of a text, without blank ones at its end.

    Parameters
    ----------
    path : Path
    origin : str
        Where the file comes from, for the message.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It has no lines, or isn't UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} isn't an existing file; it comes with {origin}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8: {error}; extract it again") from error
    text = text.rstrip()
    if not text:
        raise ValueError(f"{path} has no lines; extract it again")
    return text.split("\n")


def read_columns(path: Path, lines: Sequence[str], n_columns: int, first_line: int = 1) -> list[list[str]]:
    """Return the columns of lines, whose separator is white space.

    Parameters
    ----------
    path : Path
        File of the lines, for messages.
    lines : sequence of str, length n
    n_columns : int
        Number of columns that each line must have.
    first_line : int
        Number of the first of the lines in the file.

    Returns
    -------
    list of list of str, shape (n_columns, n)

    Raises
    ------
    ValueError
        A line has another number of columns.
    """
    rows = [tuple(line.split()) for line in lines]
    if set(map(len, rows)) - {n_columns}:
        number, row = next((number, row) for number, row in enumerate(rows, first_line) if len(row) != n_columns)
        raise ValueError(f"{path}: the number of columns must be {n_columns}, got {len(row)} in line {number:,}")
    return [list(column) for column in zip(*rows, strict=True)]


def parse_labels(path: Path, texts: Sequence[str], n_classes: int, first_line: int = 1) -> list[int]:
    """Return the labels that a column has as text.

    Raises
    ------
    ValueError
        One isn't a whole number in [0, n_classes).
    """
    numbers = {text: int(text) if text.isascii() and text.isdecimal() else n_classes for text in set(texts)}
    if outside := {text for text, number in numbers.items() if number >= n_classes}:
        position, text = next((position, text) for position, text in enumerate(texts) if text in outside)
        raise ValueError(
            f"{path}: labels must lie in [0, {n_classes}), one label for each class, got {text!r} in line "
            f"{position + first_line:,}"
        )
    return [numbers[text] for text in texts]


def check_images(folder: Path, lists: Mapping[Path, Sequence[str]], origin: str) -> None:
    """Check that the images of lists exist: each folder is listed once, and no image is opened.

    Parameters
    ----------
    folder : Path
        Folder of the images.
    lists : mapping of Path to sequence of str
        The names that a file lists, by the file: paths relative to `folder`, with ``/``.
    origin : str
        Where the images come from, for the message.

    Raises
    ------
    ValueError
        Some don't exist.
    """
    by_folder = defaultdict(list)
    for names in lists.values():
        for name in names:
            head, _, tail = name.rpartition("/")
            by_folder[head].append(tail)
    missing: set[str] = set()
    for head, tails in by_folder.items():
        prefix = f"{head}/" if head else ""
        missing.update(prefix + tail for tail in set(tails) - _list_names(folder / head))
    for source, names in lists.items():
        absent = [name for name in names if name in missing] if missing else []
        if absent:
            raise ValueError(
                f"{source} lists images that {folder} doesn't hold: {len(absent):,}, of which the first is "
                f"{absent[0]!r}; they come with {origin}"
            )


def _list_names(folder: Path) -> set[str]:
    """Return the names in a folder, none if it doesn't exist."""
    try:
        # pathlib takes several times as long.
        return set(os.listdir(folder))  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return set()


def labelled_files(folder: Path, names: Iterable[str], labels: Sequence[int]) -> LabelledFiles:
    """Return files from their names relative to a folder, and their labels."""
    return LabelledFiles(PathList(names, folder), torch.from_numpy(np.array(labels, np.int64)))
