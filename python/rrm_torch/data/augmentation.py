"""Transforms of whole batches of images, vectorised, on the device where the batch lies.

Each is called as ``transform(x)`` or ``transform(x, generator)`` and returns a new batch; `rrm_torch.batches` takes one
as its `transform`. Without a generator, random numbers come from torch's global generator of the batch's device; a
generator has to lie on that device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

Fill: TypeAlias = Literal["zeros", "reflect"]


class Augmentation(Protocol):
    """What a transform is: a callable from a batch to a batch of the same length."""

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the transformed batch and leave `x` as it is."""
        ...


@dataclass(frozen=True)
class Standardise:
    """Map each channel to ``(x - mean) / std``, with the bytes 0 ... 255 read as 0 ... 1.

    Parameters
    ----------
    mean, std : sequence of float, length C
        Of each channel, in units in which the brightest pixel is 1. Those of training images in bytes:
        ``std, mean = torch.std_mean(x_train / 255, (0, 2, 3))`` and ``Standardise(mean.tolist(), std.tolist())``.

    Raises
    ------
    ValueError
        If the two differ in length or are empty, a value isn't finite, or a `std` isn't positive.
    """

    mean: Sequence[float]
    std: Sequence[float]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # a list could change later, and has no hash
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
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
            Images. Floats are taken as they are, in the unit of `mean` and `std`.
        generator : torch.Generator, optional
            Not used: nothing is random here.

        Returns
        -------
        torch.Tensor, shape (n, C, H, W)
            float32 for bytes, and otherwise of the type of `x`.

        Raises
        ------
        ValueError
            If `x` has another shape.
        TypeError
            If `x` is of another type.
        """
        _check_images(x)
        if x.shape[1] != len(self.mean):
            raise ValueError(f"x must have {len(self.mean)} channels, one for each mean, got {x.shape[1]}")
        if x.dtype == torch.uint8:
            unit, dtype = 255.0, torch.float32
        else:
            unit, dtype = 1.0, x.dtype
        scale = torch.tensor([1 / (unit * s) for s in self.std], dtype=dtype, device=x.device)
        shift = torch.tensor([-m / s for m, s in zip(self.mean, self.std, strict=True)], dtype=dtype, device=x.device)
        return x.to(dtype, copy=True).mul_(scale[:, None, None]).add_(shift[:, None, None])


@dataclass(frozen=True)
class FlipCrop:
    """Shift each image by up to `padding` pixels either way, and mirror every second one, on average.

    The same as padding each image on all sides and cutting a window of its own size out of it at random.

    Parameters
    ----------
    padding : int, default 4
        Largest shift in pixels, at least 0, and smaller than the images if `fill` is ``"reflect"``. 0 doesn't crop.
    flip : bool, default True
        Whether to mirror left and right, each image with probability 1/2.
    fill : {"zeros", "reflect"}
        What appears at the edges: zeros, which are black in bytes and the mean after `Standardise`, or the image
        mirrored at its outermost pixels.

    Raises
    ------
    ValueError
        If `padding` is negative or `fill` is something else.
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
        """Return the batch with each image shifted and mirrored by its own draw.

        Parameters
        ----------
        x : torch.Tensor of uint8 or floating-point, shape (n, C, H, W)
            Images, finite.
        generator : torch.Generator, optional
            Where shifts and flips come from; by default torch's global generator.

        Returns
        -------
        torch.Tensor of the type and shape of `x`
            Contiguous.

        Raises
        ------
        ValueError
            If `x` has another shape, or images too small to reflect.
        TypeError
            If `x` is of another type.
        """
        _check_images(x)
        n, channels, height, width = x.shape
        reach = self.padding
        if self.fill == "reflect" and reach >= min(height, width):
            raise ValueError(
                f"padding must be smaller than the images to reflect them, got {reach} for {height}x{width}"
            )
        shifts = torch.randint(-reach, reach + 1, (2, n, 1), generator=generator, device=x.device)
        rows = torch.arange(height, device=x.device) + shifts[0]
        columns = torch.arange(width, device=x.device) + shifts[1]
        if self.flip:
            mirrored = torch.randint(2, (n, 1), generator=generator, device=x.device, dtype=torch.bool)
            columns = torch.where(mirrored, columns.flip(1), columns)
        # Where each pixel comes from, for one gather over all images: faster than a loop over them or grid_sample.
        from_row, from_column = (_into(places, size, self.fill) for places, size in ((rows, height), (columns, width)))
        source = (from_row[:, :, None] * width + from_column[:, None, :]).view(n, 1, height * width)
        moved = x.reshape(n, channels, height * width).gather(2, source.expand(-1, channels, -1)).view(x.shape)
        if self.fill == "zeros" and reach:
            inside = (rows == from_row)[:, :, None] & (columns == from_column)[:, None, :]
            moved.mul_(inside[:, None])  # several times as fast as masked_fill_
        return moved


@dataclass(frozen=True)
class Cutout:
    """Blank a square at a random place of each image (DeVries and Taylor 2017).

    Parameters
    ----------
    size : int
        Side of the square in pixels, at least 1. Its centre is any pixel, so that a part of it may lie outside.

    Raises
    ------
    ValueError
        If `size` is below 1.
    """

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the batch with zeros in the squares.

        Parameters
        ----------
        x : torch.Tensor of uint8 or floating-point, shape (n, C, H, W)
            Images. After `Standardise` zero is the mean, before it black.
        generator : torch.Generator, optional
            Where the places come from; by default torch's global generator.

        Returns
        -------
        torch.Tensor of the type and shape of `x`

        Raises
        ------
        ValueError
            If `x` has another shape.
        TypeError
            If `x` is of another type.
        """
        _check_images(x)
        n, _, height, width = x.shape
        blank = []
        for extent in (height, width):
            start = torch.randint(extent, (n, 1), generator=generator, device=x.device) - self.size // 2
            place = torch.arange(extent, device=x.device)
            blank.append((place >= start) & (place < start + self.size))
        return x.masked_fill((blank[0][:, :, None] & blank[1][:, None, :])[:, None], 0)


@dataclass(frozen=True)
class GaussianNoise:
    """Add independent normal noise to every value.

    Parameters
    ----------
    std : float
        Its standard deviation, at least 0, in the unit of the images.

    Raises
    ------
    ValueError
        If `std` is negative or not finite.
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
            Where the noise comes from; by default torch's global generator.

        Returns
        -------
        torch.Tensor of the type and shape of `x`

        Raises
        ------
        TypeError
            If `x` isn't floating-point: rounded to bytes it would be another noise.
        """
        if not x.is_floating_point():
            raise TypeError(
                f"x must be floating-point to add noise, got {x.dtype}; put Standardise before GaussianNoise"
            )
        return x + self.std * torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)


@dataclass(frozen=True, init=False)
class Compose:
    """Apply transforms one after the other; itself one of them.

    Parameters
    ----------
    *transforms : callable
        Each called as ``transform(x, generator)``. With none, the batch passes as it is. Those that move pixels are
        several times as fast on bytes: put them before `Standardise`.
    """

    transforms: tuple[Augmentation, ...]

    def __init__(self, *transforms: Augmentation) -> None:
        object.__setattr__(self, "transforms", transforms)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return what the last transform makes of it.

        Parameters
        ----------
        x : torch.Tensor
            Batch, as the first transform expects it.
        generator : torch.Generator, optional
            Where all of them draw, in their order; by default torch's global generator.

        Returns
        -------
        torch.Tensor
        """
        for transform in self.transforms:
            x = transform(x, generator)
        return x


def _into(places: Tensor, size: int, fill: Fill) -> Tensor:
    """Map places outside [0, size) into it: to the nearest one, or mirrored at the first and the last."""
    last = size - 1
    return places.clamp(0, last) if fill == "zeros" else last - (last - places.abs()).abs()


def _check_images(x: Tensor) -> None:
    if x.dtype != torch.uint8 and not x.is_floating_point():
        raise TypeError(f"x must be uint8 or floating-point, got {x.dtype}")
    if x.ndim != 4:
        raise ValueError(f"x must have shape (n, C, H, W), got {tuple(x.shape)}")
