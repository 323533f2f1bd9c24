"""Data sets as people have them, with planted label errors: a folder of images, a CSV of texts, a CSV of numbers."""

from __future__ import annotations

import csv
import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

N = 5_000
SHARE = 0.05
"""Of the labels that are made wrong, to any other class."""

FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
"""Class names of Fashion-MNIST that may be names of folders."""


@dataclass(frozen=True, eq=False)
class Planted:
    """A data set on disk and what is true of it.

    Attributes
    ----------
    path : Path
        What `rrm find` is given.
    options : tuple of str
        Further arguments.
    true_label : dict of str to str
        By the id of the sample.
    is_wrong : dict of str to bool
    """

    path: Path
    options: tuple[str, ...]
    true_label: dict[str, str]
    is_wrong: dict[str, bool]


def plant(
    labels: npt.NDArray[np.int64], n_classes: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return labels of which a share is wrong, and which ones are."""
    is_wrong = rng.random(len(labels)) < SHARE
    shift = rng.integers(1, n_classes, len(labels))
    return np.where(is_wrong, (labels + shift) % n_classes, labels), is_wrong


def make_images(source: Path, folder: Path, seed: int) -> Planted:
    """Write Fashion-MNIST as a folder of PNG files per class."""
    images, labels, noisy, is_wrong = _draw(source / "fashion_mnist.npz", seed)
    true_label = {}
    wrong = {}
    for number, image in enumerate(images):
        name = f"{FASHION[noisy[number]]}/{number:05d}.png"
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        true_label[name] = FASHION[labels[number]]
        wrong[name] = bool(is_wrong[number])
    return Planted(folder / "images", (), true_label, wrong)


def make_numbers(source: Path, folder: Path, seed: int) -> Planted:
    """Write MNIST, reduced to 14 x 14 pixels, as a CSV of numbers."""
    images, labels, noisy, is_wrong = _draw(source / "mnist.npz", seed)
    pixels = images.reshape(len(images), 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(images), -1)
    header = ["id", *(f"pixel{column}" for column in range(pixels.shape[1])), "digit"]
    rows = [[number, *pixels[number].tolist(), int(noisy[number])] for number in range(len(pixels))]
    path = write_csv(folder / "numbers.csv", header, rows)
    ids = [str(number) for number in range(len(pixels))]
    true_label = dict(zip(ids, map(str, labels.tolist()), strict=True))
    return Planted(path, ("--label", "digit"), true_label, dict(zip(ids, is_wrong.tolist(), strict=True)))


def make_texts(source: Path, folder: Path, seed: int) -> Planted:
    """Write questions of BANKING77 and their intents as a CSV."""
    rows = [row for row in read_banking77(source) if row["split"] == "train"]
    rng = np.random.default_rng(seed)
    drawn = [rows[index] for index in rng.permutation(len(rows))[:N].tolist()]
    classes, labels = np.unique([row["label"] for row in drawn], return_inverse=True)
    noisy, is_wrong = plant(labels, len(classes), rng)
    ids = [f"q{number:04d}" for number in range(len(drawn))]
    cells = [[ids[number], row["text"], classes[noisy[number]]] for number, row in enumerate(drawn)]
    path = write_csv(folder / "questions.csv", ["id", "question", "intent"], cells)
    true_label = {name: row["label"] for name, row in zip(ids, drawn, strict=True)}
    return Planted(path, ("--label", "intent"), true_label, dict(zip(ids, is_wrong.tolist(), strict=True)))


def make_npz(source: Path, folder: Path, seed: int) -> Planted:
    """Write the same images as `make_images`, and the test set, to a .npz file."""
    images, labels, noisy, is_wrong = _draw(source / "fashion_mnist.npz", seed)
    with np.load(source / "fashion_mnist.npz") as arrays:
        test = {name: arrays[name] for name in ("x_test", "y_test")}
    path = folder / "fashion.npz"
    np.savez(path, x_train=images, y_train=noisy, classes=np.array(FASHION), **test)
    ids = [str(number) for number in range(len(images))]
    true_label = {name: FASHION[label] for name, label in zip(ids, labels.tolist(), strict=True)}
    return Planted(path, (), true_label, dict(zip(ids, is_wrong.tolist(), strict=True)))


def read_banking77(source: Path) -> list[dict[str, str]]:
    """Return the rows of BANKING77: split, label and text."""
    with lzma.open(source / "banking77.tsv.xz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Write a CSV file, and return its path."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def _draw(path: Path, seed: int) -> tuple[npt.NDArray[np.uint8], Any, Any, Any]:
    """Return some training images, their true labels, labels of which some are wrong, and which ones are."""
    rng = np.random.default_rng(seed)
    with np.load(path) as arrays:
        rows = rng.permutation(len(arrays["y_train"]))[:N]
        images = arrays["x_train"][rows]
        labels = arrays["y_train"][rows].astype(np.int64)
    return images, labels, *plant(labels, 10, rng)
