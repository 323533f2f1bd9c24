"""Transforms of whole batches of images, vectorised, on the batch's device.

A transform is called as ``transform(x)`` or ``transform(x, generator)`` and returns a new batch; it can be passed to
`rrm_torch.batches` as `transform`. Random numbers come from `generator`, which must be on the batch's device, or by
default from torch's global generator of that device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from .rand_augment import RandAugment

__all__ = ["Augmentation", "Compose", "Cutout", "Fill", "FlipCrop", "GaussianNoise", "RandAugment", "Standardise"]

Fill: TypeAlias = Literal["zeros", "reflect"]


class Augmentation(Protocol):
    """A transform: maps a batch to a batch of the same length."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the transformed batch, without changing `x`."""
        ...


@dataclass(frozen=True)
class Standardise:
    """Map each channel to ``(x - mean) / std``; bytes 0 to 255 are first scaled to 0 to 1.

    Parameters
    ----------
    mean, std : sequence of float, length C
        One value per channel; white is 1. For training images in bytes:
        ``std, mean = torch.std_mean(x_train / 255, (0, 2, 3))`` and ``Standardise(mean.tolist(), std.tolist())``.

    Raises
    ------
    ValueError
        The lengths differ or are 0, a value isn't finite, or a `std` isn't positive.
    """

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        # Tuples, because a list is mutable and not hashable.
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(
                f"mean and std must have one value per channel, got {len(self.mean)} and {len(self.std)} values"
            )
        if not all(map(math.isfinite, self.mean)):
            raise ValueError(f"mean must be finite, got {self.mean}")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"std must be positive and finite, got {self.std}")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:  # noqa: ARG002
        """Return the standardised batch.

        Parameters
        ----------
        x : torch.Tensor of uint8 or floating-point, shape (n, C, H, W)
            Images. Floating-point images are expected in the unit of `mean` and `std`.
        generator : torch.Generator, optional
            Unused.

        Returns
        -------
        torch.Tensor, shape (n, C, H, W)
            float32 for bytes, otherwise of the type of `x`.

        Raises
        ------
        ValueError
            `x` has the wrong shape.
        TypeError
            `x` has the wrong type.
        """
        _check_images(x)
        if x.shape[1] != len(self.mean):
            raise ValueError(f"x must have {len(self.mean)} channels, one for each mean, got {x.shape[1]}")
        if x.dtype == torch.uint8:
            white = 255.0
            dtype = torch.float32
        else:
            white = 1.0
            dtype = x.dtype
        scale = torch.tensor([1 / (white * s) for s in self.std], dtype=dtype, device=x.device)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], dtype=dtype, device=x.device)
        return x.to(dtype, copy=True).mul_(scale[:, None, None]).add_(shift[:, None, None])


@dataclass(frozen=True)
class FlipCrop:
    """Random crop and random horizontal flip of each image.

    The crop shifts the image by up to `padding` pixels in each direction: the same as padding it on all sides and
    cropping it to its original size at a random position.

    Parameters
    ----------
    padding : int, default 4
        Largest shift in pixels, at least 0, and smaller than the images if `fill` is ``"reflect"``. 0 doesn't crop.
    flip : bool, default True
        Flip each image with probability 1/2.
    fill : {"zeros", "reflect"}
        Padding: zeros, which are black in bytes and the mean after `Standardise`, or the image reflected at its
        outermost pixels.

    Raises
    ------
    ValueError
        `padding` is negative or `fill` is something else.
    """

    padding: int = 4
    flip: bool = True
    fill: Fill = "zeros"

    def __post_init__(self) -> None:
        if self.padding < 0:
            raise ValueError(f"padding must be at least 0, got {self.padding}")
        if self.fill not in ("zeros", "reflect"):
            raise ValueError(f"fill must be 'zeros' or 'reflect', got {self.fill!r}")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the batch with each image cropped and flipped at random.

        Parameters
        ----------
        x : torch.Tensor of uint8 or floating-point, shape (n, C, H, W)
            Finite images.
        generator : torch.Generator, optional
            By default torch's global generator.

        Returns
        -------
        torch.Tensor of the type and shape of `x`
            Contiguous.

        Raises
        ------
        ValueError
            `x` has the wrong shape, or its images are too small to reflect.
        TypeError
            `x` has the wrong type.
        """
        _check_images(x)
        n, channels, height, width = x.shape
        padding = self.padding
        if self.fill == "reflect" and padding >= min(height, width):
            raise ValueError(
                f"padding must be smaller than the images to reflect them, got {padding} for {height}x{width}"
            )
        shifts = torch.randint(-padding, padding + 1, (2, n, 1), generator=generator, device=x.device)
        rows = torch.arange(height, device=x.device) + shifts[0]
        columns = torch.arange(width, device=x.device) + shifts[1]
        if self.flip:
            flips = torch.randint(2, (n, 1), generator=generator, device=x.device, dtype=torch.bool)
            columns = torch.where(flips, columns.flip(1), columns)
        # One gather with each pixel's source over all images is faster than a loop over images or grid_sample.
        source_rows = _map_into(rows, height, self.fill)
        source_columns = _map_into(columns, width, self.fill)
        source = (source_rows[:, :, None] * width + source_columns[:, None, :]).view(n, 1, height * width)
        result = x.reshape(n, channels, height * width).gather(2, source.expand(-1, channels, -1)).view(x.shape)
        if self.fill == "zeros" and padding:
            inside = (rows == source_rows)[:, :, None] & (columns == source_columns)[:, None, :]
            result.mul_(inside[:, None])  # several times faster than masked_fill_
        return result


@dataclass(frozen=True)
class Cutout:
    """Erase a square of each image (DeVries and Taylor, 2017).

    Its centre is uniform over the pixels, so that a part of the square may lie outside the image.

    Parameters
    ----------
    size : int, default 16
        Side of the square in pixels, at least 1.
    fill : float, default 0
        Value of the square: 0 is black in bytes and the mean after `Standardise`.

    Raises
    ------
    ValueError
        `size` is below 1.
    """

    size: int = 16
    fill: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the batch with a square of each image erased.

        Parameters
        ----------
        x : torch.Tensor of uint8 or floating-point, shape (n, C, H, W)
            Images.
        generator : torch.Generator, optional
            By default torch's global generator.

        Returns
        -------
        torch.Tensor of the type and shape of `x`

        Raises
        ------
        ValueError
            `x` has the wrong shape.
        TypeError
            `x` has the wrong type.
        """
        _check_images(x)
        n, _, height, width = x.shape
        is_erased_row = self._covered(height, n, x.device, generator)
        is_erased_column = self._covered(width, n, x.device, generator)
        is_erased = is_erased_row[:, :, None] & is_erased_column[:, None, :]
        return x.masked_fill(is_erased[:, None], self.fill)

    def _covered(self, length: int, n: int, device: torch.device, generator: torch.Generator | None) -> Tensor:
        """Draw centres, and return which rows or columns the squares cover: bool, shape (n, length)."""
        first = torch.randint(length, (n, 1), generator=generator, device=device) - self.size // 2
        positions = torch.arange(length, device=device)
        return (positions >= first) & (positions < first + self.size)


@dataclass(frozen=True)
class GaussianNoise:
    """Add independent Gaussian noise to every value.

    Parameters
    ----------
    std : float
        Standard deviation of the noise, at least 0, in the unit of the images.

    Raises
    ------
    ValueError
        `std` is negative or not finite.
    """

    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.std) and self.std >= 0):
            raise ValueError(f"std must be at least 0 and finite, got {self.std}")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the batch with noise.

        Parameters
        ----------
        x : torch.Tensor of floating-point, any shape
            Batch.
        generator : torch.Generator, optional
            By default torch's global generator.

        Returns
        -------
        torch.Tensor of the type and shape of `x`

        Raises
        ------
        TypeError
            `x` isn't floating-point. Noise rounded to bytes would have another distribution.
        """
        if not x.is_floating_point():
            raise TypeError(
                f"x must be floating-point to add noise, got {x.dtype}; put Standardise before GaussianNoise"
            )
        return x + self.std * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


@dataclass(frozen=True, init=False)
class Compose:
    """Apply transforms in sequence.

    Parameters
    ----------
    *transforms : callable
        Each called as ``transform(x, generator)``. Without transforms the batch is returned unchanged. Put `FlipCrop`
        before `Standardise`: moving pixels is several times faster in bytes.
    """

    transforms: tuple[Augmentation, ...]

    def __init__(self, *transforms: Augmentation) -> None:
        object.__setattr__(self, "transforms", transforms)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the output of the last transform.

        Parameters
        ----------
        x : torch.Tensor
            Input of the first transform.
        generator : torch.Generator, optional
            Passed to each transform; by default torch's global generator.

        Returns
        -------
        torch.Tensor
        """
        for transform in self.transforms:
            x = transform(x, generator)
        return x


def _map_into(positions: Tensor, size: int, fill: Fill) -> Tensor:
    """Map positions outside [0, size) into it: to the nearest position, or reflected at the first and the last."""
    last = size - 1
    if fill == "zeros":
        return positions.clamp(0, last)
    return last - (last - positions.abs()).abs()


def _check_images(x: Tensor) -> None:
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise TypeError(f"x must be uint8 or floating-point, got {x.dtype}")
    if x.ndim != 4:
        raise ValueError(f"x must have shape (n, C, H, W), got {tuple(x.shape)}")
