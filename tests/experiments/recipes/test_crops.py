"""Crops of batches of images."""

from __future__ import annotations

import pytest
import torch

from experiments.recipes.crops import CentreCrop, RandomCrop


def coordinates(n, height, width):
    """Return images whose channels are the row and the column of each pixel."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns]).to(torch.uint8).expand(n, -1, -1, -1)


def test_random_crop_is_a_window_and_perhaps_flipped():
    x = coordinates(400, 7, 6)
    crops = RandomCrop(4)(x, torch.Generator().manual_seed(0))
    assert (crops.shape, crops.dtype) == ((400, 2, 4, 4), torch.uint8)
    positions = set()
    for rows, columns in crops.int():
        is_flipped = bool(columns[0, 0] > columns[0, 1])
        top = int(rows[0, 0])
        left = int(columns.min())
        window = x[0, :, top : top + 4, left : left + 4].int()
        expected = window.flip(-1) if is_flipped else window
        assert torch.equal(torch.stack([rows, columns]), expected)
        positions.add((top, left, is_flipped))
    assert len(positions) == 4 * 3 * 2  # every one is drawn


def test_random_crop_depends_on_the_generator_only():
    x = coordinates(8, 9, 9)
    first, again = (RandomCrop(5)(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize(("height", "width", "row", "column"), [(8, 8, 2, 2), (9, 6, 2, 1), (4, 4, 0, 0)])
def test_centre_crop(height, width, row, column):
    crop = CentreCrop(4)(coordinates(2, height, width))
    assert crop.shape == (2, 2, 4, 4)
    assert crop[1, :, 0, 0].tolist() == [row, column]


@pytest.mark.parametrize("crop", [RandomCrop(5), CentreCrop(5)])
def test_image_smaller_than_the_crop_is_refused(crop):
    with pytest.raises(ValueError, match="images must have at least 5 pixels a side, got 8x4; raise resize"):
        crop(coordinates(1, 8, 4))
