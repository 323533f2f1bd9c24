"""Folders of images, one folder per class."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path, PurePath

import numpy as np

from .assembly import assemble
from .labelled_data import LabelledData, ReadOptions, join_names

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})

SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
"""Folder names, in lower case, that stand for a part of the data and not for a class."""


def is_image_name(name: str) -> bool:
    """Return whether a file is an image by its name."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def read_image_folder(folder: Path, options: ReadOptions) -> LabelledData:
    """Read a folder whose folders are classes of images.

    Parameters
    ----------
    folder : Path
        With the images ``folder/CLASS/.../IMAGE``; or, if all folders with images have the names of splits, such as
        train and test, ``folder/SPLIT/CLASS/.../IMAGE``. Hidden files and folders are ignored, and links to folders
        aren't followed.
    options : ReadOptions
        `split` selects one split.

    Returns
    -------
    LabelledData
        The samples are paths, sorted by their names relative to `folder`. The images aren't opened.

    Raises
    ------
    ValueError
        The folder has no images in folders, or no such split; or see `encode_labels`.
    """
    walk = _Walk(folder)
    notes = walk.notes()
    levels = 1  # folders from `folder` down to that of the class
    names = walk.images
    first_folders = {name[0] for name in names if len(name) > 1}
    if first_folders and all(first.lower() in SPLITS for first in first_folders):
        names, levels = _select_split(folder, names, options.split, notes)
    elif options.split is not None:
        raise ValueError(f"{folder} has no splits, got split {options.split!r}; its folders are classes")
    inside = [name for name in names if len(name) > levels]
    n_outside = len(names) - len(inside)
    if not inside:
        raise ValueError(
            f"{folder} has no images in folders, one folder for each class ({', '.join(sorted(IMAGE_SUFFIXES))}); "
            f"it has {_describe(walk)}"
        )
    if n_outside:
        notes.append(f"Images outside the folders of the classes are ignored: {n_outside:,}.")
    classes = {name[levels - 1] for name in inside}
    if levels == 1 and (empty := sorted(walk.folders - classes)):
        notes.append(f"Folders without images are no classes: {join_names(empty)}.")
    inside.sort()
    ids = np.empty(len(inside), object)
    ids[:] = [_printable("/".join(name)) for name in inside]
    return assemble(
        name=folder.resolve().name,
        where=str(folder),
        kind="images",
        samples=[folder.joinpath(*name) for name in inside],
        labels=[_printable(name[levels - 1]) for name in inside],
        ids=ids,
        notes=notes,
    )


class _Walk:
    """The files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.images: list[tuple[str, ...]] = []
        self.folders: set[str] = set()
        self.others: Counter[str] = Counter()
        self.no_files: list[tuple[str, ...]] = []
        self.links: list[str] = []
        self.n_hidden = 0
        self.errors: list[str] = []
        for place, folder_names, file_names in os.walk(folder, onerror=self._note_error):
            parts = Path(place).relative_to(folder).parts
            self._prune(Path(place), folder_names)
            if not parts:
                self.folders = set(folder_names)
            for name in file_names:
                self._sort_in(Path(place), parts, name)

    def _note_error(self, error: OSError) -> None:
        self.errors.append(str(error.filename))

    def _prune(self, place: Path, folder_names: list[str]) -> None:
        """Remove from a list of folders those that aren't entered."""
        visible = [name for name in folder_names if not name.startswith(".")]
        self.n_hidden += len(folder_names) - len(visible)
        links = [name for name in visible if (place / name).is_symlink()]
        self.links += links
        folder_names[:] = sorted(set(visible) - set(links))

    def _sort_in(self, place: Path, parts: tuple[str, ...], name: str) -> None:
        if name.startswith("."):
            self.n_hidden += 1
        elif is_image_name(name):
            # A link may lead to no file, and a pipe or a device may have any name.
            names = self.images if (place / name).is_file() else self.no_files
            names.append((*parts, name))
        else:
            self.others[Path(name).suffix.lower() or "without a suffix"] += 1

    def notes(self) -> list[str]:
        notes = []
        if self.others:
            kinds = [f"{count:,} {suffix}" for suffix, count in sorted(self.others.items())]
            notes.append(f"Files that aren't images are ignored: {join_names(kinds)}.")
        if self.no_files:
            names = sorted(_printable("/".join(name)) for name in self.no_files)
            notes.append(f"Links to missing files, and what else is no file, are ignored: {join_names(names)}.")
        if self.n_hidden:
            notes.append(f"Hidden files and folders are ignored: {self.n_hidden:,}.")
        if self.links:
            notes.append(f"Links to folders aren't followed: {join_names(sorted(map(_printable, self.links)))}.")
        if self.errors:
            notes.append(f"Folders that can't be opened are ignored: {join_names(list(map(_printable, self.errors)))}.")
        return notes


def _select_split(
    folder: Path, names: list[tuple[str, ...]], split: str | None, notes: list[str]
) -> tuple[list[tuple[str, ...]], int]:
    """Return the images of the splits to read, and the number of folders down to that of the class."""
    by_split = defaultdict(list)
    for name in names:
        if len(name) > 1:
            by_split[name[0]].append(name)
    splits = sorted(by_split)
    if split is None:
        notes.append(f"The folders {join_names(splits)} are splits; the classes are the folders in them.")
        return names, 2
    if split not in by_split:
        raise ValueError(f"{folder} must have the split {split!r}, got {', '.join(splits)}")
    return by_split[split], 2


def _describe(walk: _Walk) -> str:
    if walk.images:
        return f"{len(walk.images):,} images outside of such folders"
    if walk.others:
        return "other files only"
    return "no files"


def _printable(name: str) -> str:
    """Return a file name that isn't UTF-8 with replacement characters, so that it can be written."""
    return os.fsencode(name).decode("utf-8", "replace")
