"""Clothing1M, images of clothes with labels from the texts around them (Xiao et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .class_folders import list_classes, read_class_folders
from .image_lists import LabelledFiles, check_images, labelled_files, parse_labels, read_columns, read_lines

N_CLASSES = 14
ORIGIN = "Clothing1M"

NAMES = "category_names_eng.txt"
LABELS = {"noisy": "noisy_label_kv.txt", "clean": "clean_label_kv.txt"}

# The names of the parts' folders where there is one folder per class.
FOLDERS = {
    "train": ("train", "noisy_train"),
    "clean_train": ("clean_train",),
    "val": ("val", "clean_val"),
    "test": ("test", "clean_test"),
}


@dataclass(frozen=True, eq=False)
class Clothing1M:
    """The files of Clothing1M.

    Attributes
    ----------
    train : LabelledFiles
        1,000,000 images with labels of which about 38% are wrong.
    clean_train : LabelledFiles or None
        47,570 images with labels that annotators checked; None if the folders of classes have none.
    val, test : LabelledFiles
        14,313 and 10,526 images with checked labels.
    classes : tuple of str, length 14
        Names of the classes.
    """

    train: LabelledFiles
    clean_train: LabelledFiles | None
    val: LabelledFiles
    test: LabelledFiles
    classes: tuple[str, ...]


class _Part(NamedTuple):
    """The keys that a file lists, and their labels."""

    source: Path
    keys: list[str]
    labels: list[int]


def load_clothing1m(path: str | Path) -> Clothing1M:
    """Load Clothing1M from its lists of keys, or from folders of classes.

    Parameters
    ----------
    path : str or Path
        A folder as its authors distribute it: noisy_train_key_list.txt, clean_train_key_list.txt,
        clean_val_key_list.txt and clean_test_key_list.txt with one key per line, such as images/3/25/NAME.jpg, which is
        the path of the image as well; noisy_label_kv.txt and clean_label_kv.txt with a key and a label per line; and
        category_names_eng.txt. The text files may be in a folder called annotations. Or a folder with the folders train
        (or noisy_train), val (or clean_val), test (or clean_test) and optionally clean_train, each with 14 folders of
        images, one for each class, with the same names everywhere; their names, as `list_classes` orders them, are the
        classes.

    Returns
    -------
    Clothing1M
        The images aren't opened.

    Raises
    ------
    FileNotFoundError
        A file or folder doesn't exist.
    ValueError
        A key has no label or no image, a label is out of range, a line has another number of columns, or there are
        other than 14 classes.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"path {str(path)!r} isn't an existing folder; it must be that of {ORIGIN}")
    for lists in (folder, folder / "annotations"):
        if (lists / LABELS["noisy"]).is_file():
            return _load_key_lists(folder, lists)
    if any((folder / name).is_dir() for name in FOLDERS["train"]):
        return _load_class_folders(folder)
    raise FileNotFoundError(f"{folder} must hold {LABELS['noisy']}, or the folders train, val and test")


def _load_key_lists(folder: Path, lists: Path) -> Clothing1M:
    classes = tuple(read_lines(lists / NAMES, ORIGIN))
    if len(classes) != N_CLASSES:
        raise ValueError(f"{lists / NAMES} must have {N_CLASSES} lines, one for each class, got {len(classes)}")
    parts = _read_parts(lists, "noisy", ("train",)) + _read_parts(lists, "clean", ("train", "val", "test"))
    check_images(folder, {part.source: part.keys for part in parts}, "its archives of images")
    train, clean_train, val, test = (labelled_files(folder, part.keys, part.labels) for part in parts)
    return Clothing1M(train, clean_train, val, test, classes)


def _read_parts(lists: Path, kind: str, names: tuple[str, ...]) -> list[_Part]:
    """Read the parts with noisy or with clean labels."""
    labels = _read_labels(lists / LABELS[kind])
    return [_read_part(lists / f"{kind}_{name}_key_list.txt", labels, LABELS[kind]) for name in names]


def _read_labels(path: Path) -> dict[str, int]:
    """Read a label for each key."""
    keys, texts = read_columns(path, read_lines(path, ORIGIN), 2)
    values = parse_labels(path, texts, N_CLASSES)
    labels = dict(zip(keys, values, strict=True))
    if len(labels) < len(keys):
        for number, (key, label) in enumerate(zip(keys, values, strict=True), 1):
            if labels[key] != label:
                raise ValueError(
                    f"{path}: {key!r} must have one label, got {label} in line {number:,} and {labels[key]}"
                )
    return labels


def _read_part(source: Path, labels: Mapping[str, int], labels_name: str) -> _Part:
    """Read the keys of a part, and look up their labels, which the file `labels_name` has."""
    keys = read_lines(source, ORIGIN)
    try:
        return _Part(source, keys, [labels[key] for key in keys])
    except KeyError as error:
        key = error.args[0]
        raise ValueError(
            f"{source}: each line must be a key of {labels_name}, got {key!r} in line {keys.index(key) + 1:,}"
        ) from None


def _load_class_folders(folder: Path) -> Clothing1M:
    places = {part: _find_folder(folder, names) for part, names in FOLDERS.items()}
    classes = list_classes(places["train"])
    clean_train = None
    if places["clean_train"].is_dir():
        clean_train = _read_classes(places["clean_train"], classes)
    train, val, test = (_read_classes(places[part], classes) for part in ("train", "val", "test"))
    return Clothing1M(train, clean_train, val, test, classes)


def _read_classes(place: Path, classes: tuple[str, ...]) -> LabelledFiles:
    """Read a part of the data set, which must have a folder for each class."""
    names = list_classes(place)
    if len(names) != N_CLASSES:
        raise ValueError(f"{place} must hold {N_CLASSES} folders, one for each class, got {len(names)}")
    if names != classes:
        other = min(set(names) ^ set(classes))
        raise ValueError(f"{place} must hold the same {N_CLASSES} folders as the training images, {other!r} differs")
    return read_class_folders(place, classes)


def _find_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """Return the first of some folders that exists, or the first of all."""
    places = [folder / name for name in names]
    return next((place for place in places if place.is_dir()), places[0])
