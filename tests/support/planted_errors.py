"""Small sources for the command `find`, with some labels planted wrong: images, texts, numbers and predictions."""

from __future__ import annotations

import csv

import numpy as np
from PIL import Image

SIZE = 12  # pixels
CLASSES = ("cat", "dog", "owl")
WORDS = (
    ("purr", "meow", "whiskers", "kitten"),
    ("bark", "fetch", "leash", "puppy"),
    ("hoot", "wings", "night", "mouse"),
)


def plant(n, n_wrong, seed=0):
    """Return true labels, given labels, and which samples have a wrong one."""
    rng = np.random.default_rng(seed)
    true = np.arange(n) % len(CLASSES)
    is_wrong = np.zeros(n, bool)
    is_wrong[rng.choice(n, n_wrong, replace=False)] = True
    given = np.where(is_wrong, (true + rng.integers(1, len(CLASSES), n)) % len(CLASSES), true)
    return true, given, is_wrong


def write_images(folder, n=120, n_wrong=12, name="{:03}.png"):
    """Write a folder of images with one folder per class; return the ids of those in the wrong folder."""
    true, given, is_wrong = plant(n, n_wrong)
    rng = np.random.default_rng(1)
    ids = []
    for index in range(n):
        pixels = rng.integers(0, 60, (SIZE, SIZE, 3))
        pixels[:, :, true[index]] += 180
        ids.append(f"{CLASSES[given[index]]}/{name.format(index)}")
        path = folder / ids[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(path)
    return {ids[index] for index in np.flatnonzero(is_wrong)}


def write_texts(path, n=150, n_wrong=15):
    """Write a CSV file of texts with the columns id, text and label; return the ids of the wrong labels."""
    true, given, is_wrong = plant(n, n_wrong)
    rng = np.random.default_rng(1)
    ids = [f"t{index}" for index in range(n)]
    texts = [f"the animal number {index} likes {' '.join(rng.choice(WORDS[true[index]], 3))}" for index in range(n)]
    write_csv(path, {"id": ids, "text": texts, "label": [CLASSES[label] for label in given]})
    return {ids[index] for index in np.flatnonzero(is_wrong)}


def write_numbers(path, n=150, n_wrong=15, **columns):
    """Write a CSV file with the columns x0, x1, x2 and label; return the rows of the wrong labels, as strings."""
    true, given, is_wrong = plant(n, n_wrong)
    x = make_vectors(true)
    table = {f"x{column}": x[:, column].round(4).tolist() for column in range(x.shape[1])}
    write_csv(path, {**columns, **table, "label": [CLASSES[label] for label in given]})
    return {str(index) for index in np.flatnonzero(is_wrong)}


def write_predictions(path, n=150, n_wrong=15):
    """Write a CSV file of labels and logits, p_cat and so on; return the rows of the wrong labels, as strings."""
    true, given, is_wrong = plant(n, n_wrong)
    logits = make_vectors(true)
    table = {f"p_{name}": logits[:, column].tolist() for column, name in enumerate(CLASSES)}
    write_csv(path, {**table, "label": [CLASSES[label] for label in given]})
    return {str(index) for index in np.flatnonzero(is_wrong)}


def make_vectors(true, seed=2):
    """Return vectors of float32 that are near the unit vector of the true label, times 4."""
    noise = np.random.default_rng(seed).normal(0, 0.5, (len(true), len(CLASSES)))
    return (4 * np.eye(len(CLASSES))[true] + noise).astype(np.float32)


def write_csv(path, columns):
    """Write columns of equal length."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read_csv(path):
    """Return the rows of a CSV file as dicts."""
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def find_flagged(folder):
    """Return the ids of the samples that a search flagged."""
    return {row["id"] for row in read_csv(folder / "issues.csv") if row["is_label_issue"] == "True"}
