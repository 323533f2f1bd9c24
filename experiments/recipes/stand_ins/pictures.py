"""Generated pictures whose colours tell their classes, and labels of which some are wrong."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIDE = 40
"""Height and width of the pictures, in pixels."""

CONTRAST = 30.0
"""Standard deviation of the pixels around the colour, in levels of 255."""


def picture(label: int, n_classes: int, side: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return a noisy picture of shape (side, side, 3) in the colour of a class."""
    colour = 255 * np.array(colorsys.hsv_to_rgb(label / n_classes, 0.9, 0.5 + 0.4 * (label % 2)))
    pixels = colour + CONTRAST * rng.standard_normal((side, side, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def pictures(labels: Iterable[int], n_classes: int, side: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Return pictures of shape (n, side, side, 3)."""
    return np.stack([picture(label, n_classes, side, rng) for label in labels])


def save_picture(path: Path, label: int, n_classes: int, rng: np.random.Generator) -> None:
    """Write a picture of a class as a JPEG, with its folders."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(label, n_classes, SIDE, rng)).save(path, "JPEG")


def noisy(true: npt.NDArray[np.int64], rate: float, n_classes: int) -> npt.NDArray[np.int64]:
    """Return labels of which every ``1 / rate``-th is the next class."""
    step = round(1 / rate)
    labels = true.copy()
    labels[::step] = (labels[::step] + 1) % n_classes
    return labels


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
