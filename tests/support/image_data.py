"""Image files and lists of them, as the stand-ins of image data sets need them."""

from __future__ import annotations

import numpy as np
import pytest


def colour(number):
    """Return a colour that JPEG keeps within a few levels and that tells small numbers apart."""
    return (40 + 16 * (number % 10), 40 + 16 * (number // 10 % 10), 200)


def save_image(path, number=0, width=16, height=16):
    """Write a JPEG of one colour, which `colour` makes from a number, with its folders."""
    image_module = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.new("RGB", (width, height), colour(number)).save(path, "JPEG", quality=95, subsampling=0)


def has_colours(pixels, numbers):
    """Return whether images of shape (n, 3, height, width) have the colours of some numbers."""
    expected = np.array([colour(number) for number in numbers]).reshape(-1, 3, 1, 1)
    return len(pixels) == len(expected) and bool((abs(pixels.numpy().astype(int) - expected) <= 4).all())


def write_lines(path, lines):
    """Write a text, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
