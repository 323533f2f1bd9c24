"""Food-101N, images of dishes with labels from the web (Lee et al. 2018), with the test images of Food-101."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .image_lists import LabelledFiles, check_images, labelled_files, parse_labels, read_columns, read_lines

N_CLASSES = 101
ORIGIN = "Food-101N_release.zip"
TEST_ORIGIN = "food-101.tar.gz"

KEY_COLUMN = "class_name/key"

UNLISTED = "hot_and_sour_soup/a49e6fb26e356c6c41a37b5c18176355.jpg"
"""The one image of verified_train.tsv that imagelist.tsv lacks."""


@dataclass(frozen=True, eq=False)
class VerifiedLabels:
    """Labels that annotators checked.

    Attributes
    ----------
    index : torch.Tensor of int64, shape (n,)
        Which of the training images were checked.
    is_right : torch.Tensor of bool, shape (n,)
        Whether the class is that of the image.
    """

    index: Tensor
    is_right: Tensor


@dataclass(frozen=True, eq=False)
class Food101N:
    """The files of Food-101N and of its test set.

    Attributes
    ----------
    train : LabelledFiles
        310,009 images with labels of which about 20% are wrong, those of `verified_val` included.
    verified_train, verified_val : VerifiedLabels
        52,867 and 4,741 of the training images, whose labels annotators checked.
    test : LabelledFiles
        The 25,250 test images of Food-101, with labels that were checked.
    classes : tuple of str, length 101
        Names of the classes.
    """

    train: LabelledFiles
    verified_train: VerifiedLabels
    verified_val: VerifiedLabels
    test: LabelledFiles
    classes: tuple[str, ...]


def load_food101n(path: str | Path, food101: str | Path) -> Food101N:
    """Load Food-101N and the test images of Food-101.

    Parameters
    ----------
    path : str or Path
        The folder Food-101N_release from Food-101N_release.zip, with meta/classes.txt, meta/imagelist.tsv,
        meta/verified_train.tsv, meta/verified_val.tsv and the images images/CLASS/NAME.jpg.
    food101 : str or Path
        The folder food-101 from food-101.tar.gz, which torchvision extracts as well, with meta/classes.txt,
        meta/test.txt and the images images/CLASS/NUMBER.jpg.

    Returns
    -------
    Food101N
        The images aren't opened. The labels are numbered in the order of Food-101N's classes.txt.

    Raises
    ------
    FileNotFoundError
        A file doesn't exist.
    ValueError
        A list names an image that doesn't exist, another class or a label that isn't 0 or 1, a line has another number
        of columns, or the classes aren't the 101 of Food-101.
    """
    folder = Path(path)
    meta = folder / "meta"
    classes = _read_classes(meta / "classes.txt", ORIGIN)
    numbers = {name: number for number, name in enumerate(classes)}
    source = meta / "imagelist.tsv"
    (keys,) = _read_table(source, (KEY_COLUMN,))
    train = _read_images(source, folder / "images", keys, numbers, ORIGIN)
    positions = {key: position for position, key in enumerate(keys)}
    verified_train = _read_verified(meta / "verified_train.tsv", positions)
    verified_val = _read_verified(meta / "verified_val.tsv", positions)
    test = _load_test(Path(food101), numbers)
    return Food101N(train, verified_train, verified_val, test, classes)


def _read_classes(path: Path, origin: str) -> tuple[str, ...]:
    """Read the names of the classes: Food-101N has a line class_name above them, Food-101 has not."""
    names = read_lines(path, origin)
    if names[0] == "class_name":
        names = names[1:]
    if len(set(names)) != N_CLASSES or len(names) != N_CLASSES:
        raise ValueError(f"{path} must have {N_CLASSES} lines, one for each class, got {len(names)}")
    return tuple(names)


def _read_table(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """Read a table whose first line has the names of its columns."""
    lines = read_lines(path, ORIGIN)
    if tuple(lines[0].split()) != columns:
        raise ValueError(f"{path} must begin with a line of the columns {' and '.join(columns)}, got {lines[0]!r:.80}")
    if len(lines) == 1:
        raise ValueError(f"{path} has no lines below the names of its columns; extract it again")
    return read_columns(path, lines[1:], len(columns), first_line=2)


def _read_images(
    source: Path, folder: Path, keys: list[str], numbers: Mapping[str, int], origin: str, first_line: int = 2
) -> LabelledFiles:
    """Return the images of a list, whose labels are their folders."""
    labels = []
    for line, key in enumerate(keys, first_line):
        name = key.partition("/")[0]
        if name not in numbers:
            raise ValueError(
                f"{source}: each line must be CLASS/IMAGE with a class of classes.txt, got {key!r} in line {line:,}"
            )
        labels.append(numbers[name])
    check_images(folder, {source: keys}, origin)
    return labelled_files(folder, keys, labels)


def _read_verified(path: Path, positions: Mapping[str, int]) -> VerifiedLabels:
    """Read which training images were checked, and whether their labels are right."""
    keys, texts = _read_table(path, (KEY_COLUMN, "verification_label"))
    verifications = parse_labels(path, texts, 2, first_line=2)
    index = []
    is_right = []
    for line, (key, verification) in enumerate(zip(keys, verifications, strict=True), 2):
        if key == UNLISTED and key not in positions:
            continue
        if key not in positions:
            raise ValueError(f"{path}: each line must be an image of imagelist.tsv, got {key!r} in line {line:,}")
        index.append(positions[key])
        is_right.append(verification == 1)
    return VerifiedLabels(torch.from_numpy(np.array(index, np.int64)), torch.from_numpy(np.array(is_right, np.bool_)))


def _load_test(folder: Path, numbers: Mapping[str, int]) -> LabelledFiles:
    """Load the test images of Food-101."""
    path = folder / "meta" / "classes.txt"
    if other := set(_read_classes(path, TEST_ORIGIN)) - set(numbers):
        raise ValueError(f"{path} must have the classes of Food-101N, got {min(other)!r}")
    source = folder / "meta" / "test.txt"
    keys = [f"{name}.jpg" for name in read_lines(source, TEST_ORIGIN)]
    return _read_images(source, folder / "images", keys, numbers, TEST_ORIGIN, first_line=1)
