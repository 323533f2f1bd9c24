"""Folders of images, one folder per class, and folders of images without such folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rrm_torch.find.readers.image_folder import is_image_name

from .image_lists import LabelledFiles, labelled_files


def list_classes(folder: Path) -> tuple[str, ...]:
    """Return the names of the folders in a folder in their order: numbers by value, others alphabetically.

    Raises
    ------
    FileNotFoundError
        The folder doesn't exist.
    """
    _check_folder(folder)
    names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    if all(name.isascii() and name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def list_images(folder: Path) -> list[str]:
    """Return the names of the images in a folder, sorted; hidden files and folders are ignored.

    Raises
    ------
    FileNotFoundError
        The folder doesn't exist.
    ValueError
        It has no images.
    """
    _check_folder(folder)
    names = [entry.name for entry in os.scandir(folder) if is_image_name(entry.name) and not entry.name.startswith(".")]
    if not names:
        raise ValueError(f"{folder} must hold images, got none; extract it again")
    return sorted(names)


def read_class_folders(folder: Path, classes: Sequence[str]) -> LabelledFiles:
    """Return the images of classes.

    Parameters
    ----------
    folder : Path
        With the images ``folder/CLASS/IMAGE``.
    classes : sequence of str
        Names of the classes' folders in the order of the labels; other folders are ignored.

    Raises
    ------
    FileNotFoundError
        A folder doesn't exist.
    ValueError
        A folder has no images.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        images = list_images(folder / name)
        names.extend(f"{name}/{image}" for image in images)
        labels.extend([label] * len(images))
    return labelled_files(folder, names, labels)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} isn't an existing folder; extract the images there")
