"""Crops of images that are larger than the network's input, of whole batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RandomCrop:
    """Crop each image to a square at a random position, and flip it with probability 1/2.

    Parameters
    ----------
    size : int
        Height and width of the crop, in pixels.
    """

    size: int

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the crops.

        Parameters
        ----------
        x : torch.Tensor, shape (n, C, H, W)
            Images of at least `size` pixels in height and width.
        generator : torch.Generator, optional
            By default torch's global generator.

        Returns
        -------
        torch.Tensor, shape (n, C, size, size)

        Raises
        ------
        ValueError
            The images are smaller.
        """
        height, width = _check_size(x, self.size)
        n = len(x)
        top = torch.randint(height - self.size + 1, (n,), generator=generator, device=x.device)
        left = torch.randint(width - self.size + 1, (n,), generator=generator, device=x.device)
        is_flipped = torch.rand(n, generator=generator, device=x.device) < 0.5
        crops = x.new_empty((n, x.shape[1], self.size, self.size))
        for i, (row, column, flips) in enumerate(zip(top.tolist(), left.tolist(), is_flipped.tolist(), strict=True)):
            crop = x[i, :, row : row + self.size, column : column + self.size]
            crops[i] = crop.flip(-1) if flips else crop
        return crops


@dataclass(frozen=True)
class CentreCrop:
    """Crop each image to the square at its centre.

    Parameters
    ----------
    size : int
        Height and width of the crop, in pixels.
    """

    size: int

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        """Return the crops, see `RandomCrop`; `generator` isn't used."""
        height, width = _check_size(x, self.size)
        row = (height - self.size) // 2
        column = (width - self.size) // 2
        return x[:, :, row : row + self.size, column : column + self.size]


def _check_size(x: Tensor, size: int) -> tuple[int, int]:
    height, width = x.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"images must have at least {size} pixels a side, got {height}x{width}; raise resize")
    return height, width
