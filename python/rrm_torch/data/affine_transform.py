"""Affine transforms of batches of images, each with a matrix of its own, by the nearest pixel."""

from __future__ import annotations

import torch
from torch import Tensor

FIXED_POINT_BITS = 16
"""As in Pillow, whose results these are to the bit."""


def transform(x: Tensor, matrices: Tensor, fill: int) -> Tensor:
    """Return images whose pixel (column, row) is that of the image at (a column + b row + c, d column + e row + f).

    Parameters
    ----------
    x : Tensor of uint8, shape (n, C, H, W)
        Sources of pixels must lie within 32,767 pixels of the first one.
    matrices : Tensor of float64, shape (n, 6)
        The numbers a to f of each image, as in ``Image.transform`` of Pillow.
    fill : int
        The level of pixels that lie outside the image.

    Returns
    -------
    Tensor of uint8, shape (n, C, H, W)
    """
    n, channels, height, width = x.shape
    a, b, c, d, e, f = matrices.unbind(1)
    columns = torch.arange(width, dtype=torch.int32, device=x.device)
    rows = torch.arange(height, dtype=torch.int32, device=x.device)[:, None]
    # At the centres of pixels.
    source_columns = _positions(a, b, c + a * 0.5 + b * 0.5, columns, rows)
    source_rows = _positions(d, e, f + d * 0.5 + e * 0.5, columns, rows)
    # Not negative where all four of these are; a single comparison is faster than four.
    signs = source_columns | (width - 1 - source_columns) | source_rows | (height - 1 - source_rows)
    inside = signs >= 0
    source = (source_rows * width + source_columns).clamp_(0, height * width - 1).long().view(n, 1, height * width)
    pixels = x.flatten(2).gather(2, source.expand(-1, channels, -1)).view(x.shape)
    # Several times faster than torch.where, which isn't vectorised for bytes.
    outside = (~inside)[:, None].byte().mul_(fill)
    return pixels.mul_(inside[:, None]).add_(outside)


def rotation(degrees: Tensor, height: int, width: int) -> Tensor:
    """Return the matrices of counterclockwise rotations about the centre, shape (n, 6), of angles of shape (n,)."""
    angles = degrees.double().deg2rad()
    cos = angles.cos()
    sin = angles.sin()
    x = width / 2
    y = height / 2
    return torch.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y], 1)


def horizontal_shear(factors: Tensor) -> Tensor:
    """Return the matrices of shears that keep the first row, shape (n, 6)."""
    return _near_identity(factors, 1)


def vertical_shear(factors: Tensor) -> Tensor:
    """Return the matrices of shears that keep the first column, shape (n, 6)."""
    return _near_identity(factors, 3)


def horizontal_shift(pixels: Tensor) -> Tensor:
    """Return the matrices of shifts to the left, shape (n, 6)."""
    return _near_identity(pixels, 2)


def vertical_shift(pixels: Tensor) -> Tensor:
    """Return the matrices of shifts upwards, shape (n, 6)."""
    return _near_identity(pixels, 5)


def _near_identity(values: Tensor, position: int) -> Tensor:
    """Return the matrices of the identity with other values at one of the six positions."""
    identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64, device=values.device)
    matrices = identity.repeat(len(values), 1)
    matrices[:, position] = values.double()
    return matrices


def _positions(by_column: Tensor, by_row: Tensor, shift: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Return one coordinate of the sources of all pixels: int32, shape (n, H, W)."""
    fixed = torch.stack([by_column, by_row, shift]) * 2**FIXED_POINT_BITS + 0.5
    by_column, by_row, shift = fixed.floor().int()[:, :, None, None]
    return (by_column * columns + (by_row * rows + shift)) >> FIXED_POINT_BITS
