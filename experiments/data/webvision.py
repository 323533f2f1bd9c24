"""WebVision-mini, images that a search engine found for 50 classes of ImageNet (Li et al. 2017)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from .class_folders import read_class_folders
from .image_lists import LabelledFiles, check_images, labelled_files, parse_labels, read_columns, read_lines

N_CLASSES = 50
"""Number of the classes: the first ones of WebVision, as in Jiang et al. 2018."""

ORIGIN = "WebVision 1.0"


@dataclass(frozen=True, eq=False)
class WebVisionMini:
    """The files of WebVision-mini.

    Attributes
    ----------
    train : LabelledFiles
        The 65,944 images of the 50 classes that Google found, with labels of which about 20% are wrong.
    val : LabelledFiles
        2,500 images of WebVision's validation set, with checked labels.
    imagenet : LabelledFiles or None
        2,500 validation images of ILSVRC 2012 of the same classes; None if its folder isn't passed.
    classes : tuple of str, length 50
        Names of the classes.
    synsets : tuple of str, length 50
        Their numbers in WordNet, such as n01440764.
    """

    train: LabelledFiles
    val: LabelledFiles
    imagenet: LabelledFiles | None
    classes: tuple[str, ...]
    synsets: tuple[str, ...]


def load_webvision_mini(path: str | Path, imagenet: str | Path | None = None) -> WebVisionMini:
    """Load the first 50 classes of WebVision 1.0.

    Parameters
    ----------
    path : str or Path
        A folder with info/synsets.txt, a synset and its names per line; info/train_filelist_google.txt, an image such
        as google/q0001/NAME.jpg and a label per line; info/val_filelist.txt, an image and a label per line; the
        training images, in the folder google; and the validation images, in the folder val_images_256.
    imagenet : str or Path, optional
        Folder of the validation images of ILSVRC 2012, with one folder per synset.

    Returns
    -------
    WebVisionMini
        The images aren't opened. Only those of the 50 classes need exist.

    Raises
    ------
    FileNotFoundError
        A file or folder doesn't exist.
    ValueError
        A list names an image that doesn't exist, a line has another number of columns, a label is none of the synsets,
        or a line of synsets.txt doesn't begin with a synset.
    """
    folder = Path(path)
    synsets, classes = _read_synsets(folder / "info" / "synsets.txt")
    train = _read_list(folder / "info" / "train_filelist_google.txt", folder, len(synsets))
    val = _read_list(folder / "info" / "val_filelist.txt", folder / "val_images_256", len(synsets))
    images = None
    if imagenet is not None:
        images = read_class_folders(Path(imagenet), synsets[:N_CLASSES])
    return WebVisionMini(train, val, images, classes[:N_CLASSES], synsets[:N_CLASSES])


def _read_synsets(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the synsets of all classes and their names, in the order of the labels."""
    lines = read_lines(path, ORIGIN)
    if len(lines) < N_CLASSES:
        raise ValueError(f"{path} must have a line for each class, at least {N_CLASSES}, got {len(lines)}")
    synsets = []
    names = []
    for number, line in enumerate(lines, 1):
        synset, _, name = line.strip().partition(" ")
        if not re.fullmatch(r"n\d{8}", synset) or not name:
            raise ValueError(
                f"{path}: each line must have a synset such as n01440764 and its names, got {line!r} in line {number:,}"
            )
        synsets.append(synset)
        names.append(name)
    return tuple(synsets), tuple(names)


def _read_list(path: Path, folder: Path, n_synsets: int) -> LabelledFiles:
    """Read the images of the first classes from a list of all."""
    names, texts = read_columns(path, read_lines(path, ORIGIN), 2)
    rows = [row for row in zip(names, parse_labels(path, texts, n_synsets), strict=True) if row[1] < N_CLASSES]
    if not rows:
        raise ValueError(f"{path} must list images of the first {N_CLASSES} classes, got none")
    names, labels = (list(column) for column in zip(*rows, strict=True))
    check_images(folder, {path: names}, ORIGIN)
    return labelled_files(folder, names, labels)
